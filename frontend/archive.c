/*
 * archive.c -- members of a zip, under limits.
 *
 * Only members that the caller names are touched, by exact name, and nothing is written but to unnamed
 * temporary files, so a path in the archive can lead nowhere. The sizes that the directory claims are checked
 * against that of the file before anything is allocated or unpacked, and unpacking stops at them.
 */
#include "frontend/archive.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { MAX_MEMBERS = 100000, MAX_RATIO = 1100 /* deflate cannot exceed about 1032 */ };
static const uint64_t max_member = 64ull << 30;

struct Archive {
  zip_t *zip;
  uint64_t size; /* of the file: no member can have more compressed bytes */
};

Archive *archive_open(Module *module, const char *path) {
  int code = 0;
  zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
  if (!zip) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    fail(module, "not a readable zip archive: %s", zip_error_strerror(&error));
    zip_error_fini(&error);
    return NULL;
  }
  Archive *archive = malloc(sizeof *archive);
  zip_int64_t members = zip_get_num_entries(zip, 0);
  if (!archive || members > MAX_MEMBERS) {
    fail(module, "the archive has %lld members; at most %d are read", (long long)members, MAX_MEMBERS);
    zip_discard(zip);
    free(archive);
    return NULL;
  }
  struct stat file;
  archive->zip = zip;
  archive->size = stat(path, &file) ? 0 : (uint64_t)file.st_size;
  return archive;
}

void archive_close(Archive *archive) {
  if (!archive) return;
  zip_discard(archive->zip);
  free(archive);
}

int archive_count(Archive *archive) {
  return (int)zip_get_num_entries(archive->zip, 0);
}
const char *archive_name(Archive *archive, int index) {
  return zip_get_name(archive->zip, (zip_uint64_t)index, ZIP_FL_ENC_RAW);
}
bool archive_has(Archive *archive, const char *member) {
  return zip_name_locate(archive->zip, member, 0) >= 0;
}

/* Opens a member of at most `limit` bytes; NULL with a Diag. */
static zip_file_t *open_member(Module *module, Archive *archive, const char *member, uint64_t limit,
                               uint64_t *size) {
  zip_stat_t stat;
  const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
  if (zip_stat(archive->zip, member, 0, &stat) || (stat.valid & needed) != needed)
    return fail(module, "the archive has no '%s'", member), NULL;
  if (stat.size > limit || stat.comp_size > archive->size || stat.size / MAX_RATIO > stat.comp_size)
    return fail(module, "'%s' in the archive claims %llu bytes from %llu", member,
                (unsigned long long)stat.size, (unsigned long long)stat.comp_size),
           NULL;
  zip_file_t *file = zip_fopen(archive->zip, member, 0);
  if (!file) fail(module, "'%s' in the archive: %s", member, zip_strerror(archive->zip));
  *size = stat.size;
  return file;
}

char *archive_read(Module *module, Archive *archive, const char *member, size_t limit, size_t *length) {
  uint64_t size;
  zip_file_t *file = open_member(module, archive, member, limit, &size);
  if (!file) return NULL;
  char *text = malloc(size + 1);
  zip_int64_t done = text ? zip_fread(file, text, size) : -1;
  zip_fclose(file);
  if (done < 0 || (uint64_t)done != size) {
    free(text);
    return fail(module, "'%s' in the archive is damaged", member), NULL;
  }
  text[size] = 0;
  *length = size;
  return text;
}

int temporary_file(Module *module) {
  const char *folder = getenv("TMPDIR");
  char *name = arena_printf(module->arena, "%s/tenon-XXXXXX", folder && *folder ? folder : "/tmp");
  int fd = mkstemp(name);
  if (fd < 0) return fail(module, "cannot make a temporary file '%s': %s", name, strerror(errno)), -1;
  unlink(name);
  return fd;
}

/* Copies `size` bytes of the member; a byte more or fewer, or a wrong checksum, is a failure. */
static bool copy_member(zip_file_t *file, int fd, uint64_t size) {
  char part[1 << 16];
  uint64_t total = 0;
  for (zip_int64_t got; (got = zip_fread(file, part, sizeof part)) != 0;) {
    if (got < 0 || (total += (uint64_t)got) > size) return false;
    for (zip_int64_t at = 0; at < got;) {
      ssize_t done = write(fd, part + at, (size_t)(got - at));
      if (done <= 0) return false;
      at += done;
    }
  }
  return total == size;
}

int archive_unpack(Module *module, Archive *archive, const char *member) {
  uint64_t size;
  zip_file_t *file = open_member(module, archive, member, max_member, &size);
  if (!file) return -1;
  int fd = temporary_file(module);
  if (fd >= 0 && !copy_member(file, fd, size)) {
    fail(module, "'%s' in the archive is damaged or does not fit into $TMPDIR", member);
    close(fd);
    fd = -1;
  }
  zip_fclose(file);
  return fd;
}
