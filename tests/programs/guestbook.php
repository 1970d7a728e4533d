<?php
// A form, an upload and a session, as PHP programs have them.
session_save_path(getenv("SESSIONS"));
session_start();
$_SESSION["visits"] = ($_SESSION["visits"] ?? 0) + 1;
if (isset($_GET["status"])) {
    http_response_code((int) $_GET["status"]);
}
header("Content-Type: text/plain; charset=utf-8");
echo "visit ", $_SESSION["visits"], "\n";
echo "path ", $_SERVER["PATH_INFO"] ?? "", "\n";
echo "name ", $_POST["name"] ?? "", "\n";
if (isset($_FILES["picture"])) {
    $file = $_FILES["picture"];
    echo "file ", $file["name"], " ", $file["size"], " ", md5_file($file["tmp_name"]), "\n";
}
error_log("was here");
