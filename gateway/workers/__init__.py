"""Process models: they move bytes between sockets and connections, nothing else.  One file each."""
