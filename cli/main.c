/* main.c -- the `tenon` command. */
int main(void) { return 2; }
