/* loop_text.h -- what the printer and the parser of the loop IR share: where a literal may stand in place of
 * a register. */
#ifndef TENON_LOOP_TEXT_H
#define TENON_LOOP_TEXT_H

#include "ir/loop.h"

/* The type of a literal written as argument `arg` of `instr` (whose op, result types, buffer and earlier
 * arguments are known); false when only a register may stand there. */
bool literal_type(const Instr *instr, int arg, LoopType *type);
/* How many of an access's arguments come before the indices. */
int access_first_index(const Instr *instr);
bool opcode_is_access(Opcode op);

extern const char *const buffer_kind_words[]; /* by BufferKind */

#endif
