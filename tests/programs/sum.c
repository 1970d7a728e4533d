/* Adds up the numbers that it is sent, one a line; anything else among them is a 422. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char line[64], *end;
    long sum = 0, count = 0;

    while (fgets(line, sizeof line, stdin)) {
        sum += strtol(line, &end, 10);
        if (end == line || *end != '\n') {
            printf("Status: 422 No Number\r\nContent-Type: text/plain\r\n\r\nline %ld is no number\n", count + 1);
            return 0;
        }
        count++;
    }
    printf("Content-Type: text/plain\r\nX-Count: %ld\r\n\r\n%ld\n", count, sum);
    return 0;
}
