/*
 * weights.c -- a program's weights as an object file, written straight from where they are. LLVM's assembler
 * would hold them in memory twice before it writes them.
 *
 * The file is a relocatable ELF of 64 bits (Tool Interface Standard, "ELF", 1.2, and the gABI): a header, the
 * weights, a table with their one symbol, names, and the headers of sections. What depends on the processor
 * is taken from the header of an object that LLVM made for the same one.
 */
#include "codegen/library.h"

#include <elf.h>
#include <string.h>

/* In the order of the file. */
enum { NO_SECTION, DATA, SYMBOLS, STRINGS, SECTION_COUNT };

typedef struct Names {
  char *text;
  size_t size, sections[SECTION_COUNT], symbol; /* where names begin */
} Names;

static size_t add_name(Names *names, const char *name) {
  size_t at = names->size;
  strcpy(names->text + at, name);
  names->size += strlen(name) + 1;
  return at;
}

/* One table for sections and symbols. */
static Names name_all(Arena *arena, const char *symbol) {
  Names names = {.size = 1};
  const char *section = arena_printf(arena, ".rodata.%s", symbol);
  names.text = NEW_ARRAY(arena, char, 2 * strlen(section) + 64);
  names.sections[DATA] = add_name(&names, section);
  names.symbol = names.sections[DATA] + strlen(".rodata.");
  names.sections[SYMBOLS] = add_name(&names, ".symtab");
  names.sections[STRINGS] = add_name(&names, ".strtab");
  return names;
}

static bool read_header(const char *path, Elf64_Ehdr *header) {
  FILE *in = fopen(path, "rb");
  bool ok = in && fread(header, sizeof *header, 1, in) == 1;
  if (in) fclose(in);
  return ok && header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB;
}

static bool put(const void *bytes, size_t size, FILE *out) {
  return fwrite(bytes, 1, size, out) == size;
}

static bool write_object(const Program *program, Elf64_Ehdr header, FILE *out) {
  static const char zeros[8] = {0};
  const Names names = name_all(program->module->arena, weights_symbol(program));
  const uint64_t bytes = (uint64_t)program->weight_bytes, data = sizeof header, symbols = data + bytes,
                 strings = symbols + 2 * sizeof(Elf64_Sym), end = strings + names.size,
                 sections = (end + 7) / 8 * 8;
  const Elf64_Sym table[] = {{0},
                             {.st_name = (Elf64_Word)names.symbol,
                              .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                              .st_other = STV_HIDDEN,
                              .st_shndx = DATA,
                              .st_size = bytes}};
  Elf64_Shdr heads[SECTION_COUNT] = {
      [DATA] = {.sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_offset = data, .sh_size = bytes},
      [SYMBOLS] = {.sh_type = SHT_SYMTAB,
                   .sh_offset = symbols,
                   .sh_size = sizeof table,
                   .sh_entsize = sizeof *table},
      [STRINGS] = {.sh_type = SHT_STRTAB, .sh_offset = strings, .sh_size = names.size, .sh_addralign = 1}};
  heads[DATA].sh_addralign = (Elf64_Xword)weights_alignment(program);
  heads[SYMBOLS].sh_addralign = 8;
  heads[SYMBOLS].sh_link = STRINGS;
  heads[SYMBOLS].sh_info = 1; /* the first symbol that is not local */
  for (int i = 0; i < SECTION_COUNT; i++) heads[i].sh_name = (Elf64_Word)names.sections[i];
  header.e_shoff = sections;
  header.e_shnum = SECTION_COUNT;
  header.e_shstrndx = STRINGS;
  return put(&header, sizeof header, out) && program_put_weights(program, out) &&
         put(table, sizeof table, out) && put(names.text, names.size, out) &&
         put(zeros, sections - end, out) && put(heads, sizeof heads, out);
}

int64_t weights_alignment(const Program *program) {
  const int64_t huge_page = 2 << 20;
  bool is_hosted = strstr(program->options->target.triple, "linux") != NULL;
  return is_hosted && program->weight_bytes >= 4 * huge_page ? huge_page : 64;
}

const char *weights_symbol(const Program *program) {
  return arena_printf(program->module->arena, "%s_weights", program->options->name);
}

/* header: NULL for the weights alone. */
static bool write_file(const Program *program, const Elf64_Ehdr *header, const char *path) {
  FILE *out = fopen(path, "wb");
  bool ok = out && (header ? write_object(program, *header, out) : program_put_weights(program, out));
  if (out && fclose(out) != 0) ok = false;
  return ok || fail(program->module, "cannot write the weights, %lld bytes, to '%s'",
                    (long long)program->weight_bytes, path);
}

bool weights_file(const Program *program, const char *path) {
  return write_file(program, NULL, path);
}

bool weights_object(const Program *program, const char *like, const char *path) {
  Elf64_Ehdr header;
  return read_header(like, &header) ? write_file(program, &header, path)
                                    : fail(program->module, "'%s' is no ELF object of 64 bits", like);
}
