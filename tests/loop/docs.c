/* docs.c -- docs/loop-ir.md, named on the command line, speaks of every opcode. */
#include "tests/loop/loops.h"

static const char *path;

TEST(every_opcode_is_documented) {
  FILE *file = fopen(path, "rb");
  if (!CHECK(file)) return;
  char *text = calloc(1, 1 << 18);
  CHECK(fread(text, 1, (1 << 18) - 1, file) > 0);
  fclose(file);
  for (int i = 0; i < LOOP_OPCODE_COUNT; i++) {
    /* in backquotes, alone or as the instruction of an example */
    char alone[40], used[40], head[40];
    snprintf(alone, sizeof alone, "`%s`", opcode_infos[i].name);
    snprintf(used, sizeof used, "= %s", opcode_infos[i].name);
    snprintf(head, sizeof head, "| `%s ", opcode_infos[i].name);
    if (strstr(text, alone) || strstr(text, used) || strstr(text, head)) continue;
    printf("%s: nothing about '%s'\n", path, opcode_infos[i].name);
    CHECK(!"documented");
  }
  free(text);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  path = argv[1];
  RUN(every_opcode_is_documented);
  return tests_finish();
}
