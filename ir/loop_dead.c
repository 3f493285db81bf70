/* loop_dead.c -- removes instructions whose results nobody uses: builders compute ahead, and what was in vain
 * goes here. */
#include "ir/loop.h"

static bool writes(const Instr *instr) {
  return instr->op == LOOP_STORE || instr->op == LOOP_SCATTER || instr->op == LOOP_CALL;
}

bool instr_has_effect(const Instr *instr) {
  if (writes(instr)) return true;
  for (int i = 0; i < instr->block_count; i++)
    for (const Instr *inner = instr->blocks[i]->first; inner; inner = inner->next)
      if (instr_has_effect(inner)) return true;
  return false;
}

static bool is_needed(const Instr *instr) {
  return writes(instr) || instr->op == LOOP_YIELD || instr->op == LOOP_PREFETCH;
}

static void count_uses(const Block *block, int *uses) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->arg_count; i++) uses[instr->args[i]->id]++;
    for (int i = 0; i < instr->block_count; i++) count_uses(instr->blocks[i], uses);
  }
}

static void unlink_instr(Block *block, Instr *instr) {
  if (instr->prev)
    instr->prev->next = instr->next;
  else
    block->first = instr->next;
  if (instr->next)
    instr->next->prev = instr->prev;
  else
    block->last = instr->prev;
}

/* From the last instruction to the first, so that one walk is enough. */
static void remove_dead(Block *block, int *uses) {
  for (Instr *instr = block->last, *prev; instr; instr = prev) {
    bool used = is_needed(instr), empty = true;
    prev = instr->prev;
    for (int i = 0; i < instr->block_count; i++) {
      remove_dead(instr->blocks[i], uses);
      empty = empty && !instr->blocks[i]->first;
    }
    for (int i = 0; i < instr->result_count; i++) used = used || uses[instr->results[i]->id] > 0;
    if (used || (instr->block_count > 0 && !empty)) continue;
    for (int i = 0; i < instr->arg_count; i++) uses[instr->args[i]->id]--;
    unlink_instr(block, instr);
  }
}

void kernel_remove_dead(Kernel *kernel) {
  int *uses = NEW_ARRAY(kernel->module->arena, int, kernel->reg_count);
  count_uses(kernel->body, uses);
  remove_dead(kernel->body, uses);
}
