/* A lot of output, of lines short and long, by several processes in turn. */
#include "check.h"

int main(void)
{
    char line[1024];
    unsigned sum = 1;
    for (int part = 0; part < 4; part++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int i = 0; i < 400; i++) {
                int length = (i * 37 + part * 101) % 200;
                for (int k = 0; k < length; k++)
                    line[k] = (char)(' ' + (i + k * part) % 95);
                line[length] = '\n';
                CHECK_EQUAL(write(1, line, (size_t)length + 1), length + 1);
            }
            _exit(0);
        }
        REAP_EXITED(child, 0);
        sum = sum * 31 + (unsigned)part;
    }
    /* Through standard output's buffer, in one large piece. */
    for (int i = 0; i < 2000; i++)
        printf("%d %08x\n", i, sum = sum * 1664525 + 1013904223);
    return fflush(stdout) ? 1 : 0;
}
