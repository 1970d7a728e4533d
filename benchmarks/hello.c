/* The hello application as a FastCGI program in C over libfcgi: hello SOCKET THREADS.
 *
 * libfcgi serves one connection per thread, and a kept connection owns its thread,
 * so the kept contender gets one thread for each connection that nginx may keep.
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int listener;

static void *serve(void *unused)
{
    FCGX_Request request;

    FCGX_InitRequest(&request, listener, 0);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutS("Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n", request.out);
        FCGX_Finish_r(&request);
    }
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int threads;

    if (argc != 3) {
        fprintf(stderr, "usage: hello SOCKET THREADS\n");
        return 2;
    }
    FCGX_Init();
    listener = FCGX_OpenSocket(argv[1], 128);
    for (threads = atoi(argv[2]); threads > 1; threads--)
        pthread_create(&thread, NULL, serve, NULL);
    serve(NULL);
    return 0;
}
