/*
 * archive.h -- members of a zip, under limits; shared by the importers inside frontend/.
 */
#ifndef TENON_ARCHIVE_H
#define TENON_ARCHIVE_H

#include "ir/ir.h"

typedef struct Archive Archive;
Archive *archive_open(Module *module, const char *path); /* NULL with a Diag */
void archive_close(Archive *archive);                    /* NULL is nothing */
int archive_count(Archive *archive);
const char *archive_name(Archive *archive, int index); /* valid until archive_close; NULL when damaged */
bool archive_has(Archive *archive, const char *member);
/* A whole member, ended by a zero byte; from malloc. NULL with a Diag. */
char *archive_read(Module *module, Archive *archive, const char *member, size_t limit, size_t *length);
/* A member as an unnamed temporary file; -1 with a Diag. */
int archive_unpack(Module *module, Archive *archive, const char *member);
int temporary_file(Module *module); /* an unnamed file in $TMPDIR; -1 with a Diag */

#endif
