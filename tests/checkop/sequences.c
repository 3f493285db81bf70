/* sequences.c -- recurrent cells and attention. */
#include "tests/checkop/checkop.h"

typedef struct CellCase {
  int64_t steps, batch, hidden;
} CellCase;

static Value *lengths(Check *check, int64_t batch) {
  int64_t values[16];
  for (int64_t i = 0; i < batch; i++) values[i] = (i * 5 + 3) % 7 - 1;
  return build_ints(&check->builder, values, (int)batch);
}

/* Every bit of `variant` asks for something: see the flags. */
static void add_cell(Check *check, const Op *op, const CellCase *c, int variant) {
  bool has_state = variant & 1, has_lengths = (variant & 2) && c->batch != OPEN, reverse = variant & 4;
  bool batch_first = variant & 8, special = variant & 16, constant = variant & 32;
  int64_t gates = op == &op_lstm ? 4 : op == &op_gru ? 3 : 1, r_dims[] = {c->hidden, gates * c->hidden};
  int64_t x_dims[] = {batch_first ? c->batch : c->steps, batch_first ? c->steps : c->batch, r_dims[1]};
  int64_t state[] = {c->batch, c->hidden}, peepholes = 3 * c->hidden;
  Value *operands[6] = {
      input(check, 3, x_dims), constant ? weight(check, 2, r_dims) : input(check, 2, r_dims),
      has_state ? input(check, 2, state) : NULL, has_lengths ? lengths(check, c->batch) : NULL};
  if (special && op == &op_gru) operands[GRU_BIAS] = weight(check, 1, &c->hidden);
  if (special && op == &op_lstm) operands[LSTM_C0] = input(check, 2, state);
  if (special && op == &op_lstm) operands[LSTM_PEEPHOLES] = weight(check, 1, &peepholes);
  Node *node = node_new(&check->builder, op, operands, op->operand_count);
  node_set_bool(node, "reverse", reverse);
  node_set_bool(node, "batch_first", batch_first);
  node_set_float(node, "clip", special ? 0.5 : 0);
  if (op == &op_gru) node_set_bool(node, "linear_before_reset", reverse == has_state);
  bool ok = node_finish(node);
  for (int i = 0; i < op->result_count; i++)
    done(check, ok ? result(node, i) : NULL,
         NAME("%s_t%d_b%d_h%d_%d_%s", op->name, (int)c->steps, (int)c->batch, (int)c->hidden, variant,
              op->results[i]));
}

void cell_cases(Check *check) {
  const Op *const ops[] = {&op_lstm, &op_gru, &op_rnn};
  const CellCase cases[] = {{5, 1, 1},   {3, 2, 15},    {4, 1, 16},   {2, 7, 17}, {3, 1, 33}, {6, 13, 8},
                            {1, 3, 100}, {5, OPEN, 20}, {OPEN, 2, 5}, {0, 2, 9},  {3, 0, 9},  {4, 10, 40}};
  for (int i = 0; i < COUNT_OF(ops); i++)
    for (int k = 0; k < COUNT_OF(cases); k++)
      for (int variant = k % 2; variant < 64; variant += 13) add_cell(check, ops[i], &cases[k], variant);
}

typedef struct AttentionCase {
  int64_t b, h, kv_b, kv_h, m, n, d, e;
  int64_t q_perm[4], k_perm[4], v_perm[4], y_perm[4];
  int64_t mask[4]; /* of rank 4, 0: none */
} AttentionCase;

/* An input that the permutation brings to the canonical shape. */
static Value *permuted_input(Check *check, const int64_t *shape, const int64_t *perm) {
  int64_t dims[4];
  for (int i = 0; i < 4; i++) dims[perm[i]] = shape[i];
  return input(check, 4, dims);
}

static void add_attention(Check *check, const AttentionCase *c, int number, bool epilogue) {
  static const char *const names[] = {"q_perm", "k_perm", "v_perm", "y_perm"};
  const int64_t *perms[] = {c->q_perm, c->k_perm, c->v_perm, c->y_perm};
  Value *operands[4] = {permuted_input(check, (int64_t[]){c->b, c->h, c->m, c->d}, c->q_perm),
                        permuted_input(check, (int64_t[]){c->kv_b, c->kv_h, c->n, c->d}, c->k_perm),
                        permuted_input(check, (int64_t[]){c->kv_b, c->kv_h, c->n, c->e}, c->v_perm),
                        c->mask[0] ? input(check, 4, c->mask) : NULL};
  Node *node = node_new(&check->builder, &op_attention, operands, 4);
  node_set_float(node, "scale", 1.5);
  node_set_float(node, "softcap", epilogue ? 2.5 : 0);
  for (int i = 0; i < 4; i++) node_set_ints(node, names[i], perms[i], 4);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && epilogue) y = build_unary(&check->builder, &op_tanh, y);
  done(check, y, NAME("attention_%d%s", number, epilogue ? "_tanh" : ""));
}

#define PLAIN {0, 1, 2, 3}
#define LAST {0, 2, 1, 3}    /* heads behind positions */
#define SWAPPED {0, 1, 3, 2} /* channels before positions */

void attention_cases(Check *check) {
  static const AttentionCase cases[] = {
      {1, 1, 1, 1, 1, 1, 1, 1, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {2, 3, 2, 3, 13, 17, 8, 5, PLAIN, PLAIN, PLAIN, PLAIN, {1, 1, 13, 17}},
      {1, 2, 1, 2, 29, 64, 16, 16, LAST, LAST, LAST, LAST, {1, 1, 1, 64}},
      {1, 4, 1, 2, 7, 33, 33, 20, LAST, PLAIN, LAST, PLAIN, {1, 4, 1, 1}},
      {2, 6, 1, 1, 30, 19, 3, 47, PLAIN, SWAPPED, SWAPPED, LAST, {2, 1, 30, 19}},
      {1, 2, 1, 2, 1, 129, 64, 64, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {1, 2, 1, 1, 5, 700, 16, 32, SWAPPED, LAST, PLAIN, SWAPPED, {1, 2, 5, 700}},
      {1, 1, 1, 1, 300, 20, 64, 16, LAST, LAST, LAST, LAST, {0}},
      {1, 1, 1, 1, 270, 610, 17, 40, LAST, LAST, LAST, LAST, {1, 1, 1, 610}},
      {1, 1, 1, 1, 6, 300, 200, 130, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {1, 2, 1, 2, OPEN, OPEN, 16, 24, LAST, LAST, LAST, LAST, {1, 1, OPEN, OPEN}},
      {1, 2, 1, 2, 4, OPEN, 9, 7, PLAIN, PLAIN, PLAIN, PLAIN, {1, 1, 1, OPEN}},
      {OPEN, 2, OPEN, 1, OPEN, 50, 32, 32, LAST, SWAPPED, LAST, LAST, {0}},
      {1, 1, 1, 1, 5, 6, 257, 300, PLAIN, PLAIN, PLAIN, PLAIN, {0}}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    add_attention(check, &cases[i], i, false);
    add_attention(check, &cases[i], i, true);
  }
}
