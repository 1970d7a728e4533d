/* The hello application as a CGI program in C. */
#include <stdio.h>

int main(void)
{
    fputs("Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n", stdout);
    return 0;
}
