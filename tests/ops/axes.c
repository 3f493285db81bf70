/*
 * axes.c -- axis maps and multiply-accumulates: for one line of text form each, what becomes of every axis of
 * every operand. A letter per role and the number of the axis: = same, * broadcast, + contracted, g
 * contracted in groups, ~ state, w window, | shifted, r repeated, p parts, m merged, s split, ? opaque; then
 * @ and the start of a shift, / and the number of blocks, ! for what is needed whole.
 */
#include "ir/ir.h"
#include "tests/test.h"

typedef struct Case {
  const char *line;
  const char *axes; /* operands between commas, "_" absent */
  const char *macs; /* NULL: none */
} Case;

static const char header[] = "graph g(%x: f32[N,6,8,9], %w: f32[4,6,3,3], %d: f32[6,1,3,3], %g: "
                             "f32[4,3,1,1], %t: f32[6,4,2,2], %l: f32[N,8,9,6], "
                             "%k: f32[3,3,6,4], %p: f32[1,54,4], %m: f32[4,5], %q: f32[2,5,4], %b: f32[4], "
                             "%c: f32[6], %i: i64[2,7], %v: f32[5], %e: f32[1,1,1], %r: f32[1,9,4], %o: "
                             "f32[N,6,9], %z: f32[9,9], %h: f32[N,4,4,2], %f: i64[N,7,2], %j: i64[4,5], %u: "
                             "i32[5], %t2: f32[6,2,2,2], "
                             "%a1: f32[3,6,8], %a2: f32[2,8], %a3: f32[3,2], %a4: f32[6], %t3: f32[4,6,2,2], "
                             "%t4: f32[4,6,2,2], %t5: f32[6,1,2]) -> (%b: "
                             "f32[4]) {\n";

static const Case cases[] = {
    {"%y: f32[N,6,8,9] = relu %x", "=0=1=2=3", NULL},
    {"%y: f32[N,6,8,9] = mul %x, %e", "=0=1=2=3,*1*2*3", NULL},
    {"%y: f32[4,5] = add %m, %v", "=0=1,=1", NULL},
    {"%y: f32[N,6,8,9] = cum_prod %x, axis=-3", "=0?-1=2=3", NULL},
    {"%y: f32[N,4,6,7] = conv %x, %w, %b", "=0+0w2w3,=1+0?-1?-1,=1", "9072*N"},
    {"%y: f32[N,6,6,7] = conv %x, %d, group=6", "=0=1/6w2w3,=1/6+0?-1?-1", "2268*N"},
    {"%y: f32[N,4,8,9] = conv %x, %g, group=2", "=0g0/2w2w3,=1/2+0?-1?-1", "864*N"},
    {"%y: f32[N,6,7,4] = conv %l, %k, layout=\"nhwc\"", "=0w1w2+0,?-1?-1+0=3", "9072*N"},
    {"%y: f32[N,6,7,4] = conv %l, %p, layout=\"nhwc\", packed=4, kernel=[3,3], channels=4",
     "=0w1w2+0!,w3?-1?-1", "9072*N"},
    {"%y: f32[N,4,16,18] = conv_transpose %x, %t, strides=[2,2]", "=0+0w2w3,+0=1?-1?-1", "6912*N"},
    {"%y: f32[N,4,16,18] = conv_transpose %x, %t2, strides=[2,2], group=2", "=0g0/2w2w3,g0/2r1?-1?-1",
     "3456*N"},
    {"%y: f32[N,6,7,8] = max_pool %x, kernel=[2,2]", "=0=1w2w3", NULL},
    {"%y: f32[N,8,9,6] = transpose %x, perm=[0,2,3,1]", "=0=3=1=2", NULL},
    {"%y: f32[N,432] = reshape %x, shape=[N,432]", "=0m1m1m1", NULL},
    {"%y: f32[N,2,3,8,9] = reshape %x, shape=[N,2,3,8,9]", "=0s1=3=4", NULL},
    {"%y: f32[N,6,8,4] = matmul %x, %r", "=0=1=2+0,*1+0=3", "1728*N"},
    {"%y: f32[4,4] = gemm %m, %m, %b, trans_b=true", "=0+0,=1+0,=1", "80"},
    {"%y: f32[5,5] = gemm %m, %m, trans_a=true", "+0=0,+0=1", "100"},
    {"%y: f32[4,8] = gemm %m, %q, packed=4, n=8", "=0+0!,w1?-1?-1", "160"},
    {"%y: f32[4] = matmul %m, %v", "=0+0,+0", "20"},
    {"%y: f32[N,1,8,9] = reduce_sum %x, axes=[1]", "=0+1=2=3", NULL},
    {"%y: f32[N,1,8,9] = reduce_mean %x, axes=[1]", "=0+1!=2=3", NULL},
    {"%y: f32[N,12,8,9] = concat %x, %x, axis=1", "=0|1@0=2=3,=0|1@6=2=3", NULL},
    {"%y: f32[N,6,8,4] = slice %x, starts=[0,0,0,1], sizes=[N,6,8,4]", "=0=1=2|3@-1", NULL},
    {"%y: f32[N,6,9,9] = pad %x, pads=[0,0,1,0,0,0,0,0]", "=0=1|2@1=3", NULL},
    {"%y: f32[N,6,9,9] = pad %x, pads=[0,0,1,0,0,0,0,0], mode=\"edge\"", "=0=1w2=3", NULL},
    {"%y: f32[N,6,9,9] = pad %x, pads=[0,0,3,0,0,0,-2,0]", "=0=1|2@3=3", NULL},
    {"%y: f32[N,2,7,8,9] = gather %x, %i, axis=1", "=0?-1=3=4,=1=2", NULL},
    {"%y: f32[N,6,16,9] = resize %x, sizes=[N,6,16,9]", "=0=1w2=3", NULL},
    {"%y: f32[N,6,8,9] = softmax %x, axis=1", "=0=1!=2=3", NULL},
    {"%y: f32[N,6,8,9] = batch_norm %x, %c, %c, %c, %c", "=0=1=2=3,=1,=1,=1,=1", NULL},
    {"%y: f32[N,6,9], %s: f32[6,9] = rnn %o, %z", "=0!=1p2,~2p2;=1=2", "486*N"},
    {"%y: f32[3,6,2], %s: f32[3,2], %s2: f32[3,2] = lstm %a1, %a2, %a3, _, %a3, %a4, batch_first=true",
     "=0=1!p2,~2p2,=0~2,,=0~2,p2;=0=2;=0=2", "288"},
    {"%y: f32[8,15] = tile %m, repeats=[2,3]", "r0r1", NULL},
    {"%y: f32[N,6,4,4] = grid_sample %x, %h", "=0=1?-1?-1,=0=2=3?-1", NULL},
    {"%y: f32[4,6,3,2] = max_roi_pool %x, %m, sizes=[3,2]", "?-1=1?-1?-1,=0?-1", NULL},
    {"%y: f32[4,2,2] = unfold %m, axis=1, size=2, step=3", "=0w1", NULL},
    {"%y: f32[4,2], %a: i64[4,2] = top_k %m, k=[2]", "=0?-1;?-1?-1", NULL},
    {"%y: i64[2,20], %a: i64 = non_zero %m", "?-1?-1;", NULL},
    {"%y: f32[N,7,9] = gather_nd %x, %f, batch_axes=1", "=0?-1?-1=2,=0=1?-1", NULL},
    {"%y: f32[4,5] = scatter_elements %m, %j, %m, axis=1", "=0?-1,=0?-1,=0?-1", NULL},
    {"%y: f32[4,5] = reverse_sequence %m, %u", "?-1=1,=1", NULL},
    {"%y: f32[4,5] = cum_sum %m, axis=0", "?-1=1", NULL},
    {"%y: f32[4,6,2,2] = attention %t3, %t3, %t4, %t5", "=0=1=2+0,=0=1+1!+0,=0=1+1!=3,=1*2+1!", "384"},
    {"%y: f32[4,6,2,2] = attention %t3, %t4, %t4, k_perm=[0,2,1,3], v_perm=[0,2,1,3]",
     "=0=1=2+0,=0+1!w1+0,=0+1!w1=3", "1152"},
    {"%y: f32[2,4,5] = broadcast %m, shape=[2,4,5]", "=1=2", NULL},
};

static size_t link_text(AxisLink link, char *text, size_t room) {
  static const char letters[] = {
      [AXIS_OPAQUE] = '?', [AXIS_SAME] = '=',  [AXIS_BROADCAST] = '*', [AXIS_CONTRACT] = '+',
      [AXIS_WINDOW] = 'w', [AXIS_SHIFT] = '|', [AXIS_MERGE] = 'm',     [AXIS_SPLIT] = 's',
      [AXIS_GROUPS] = 'g', [AXIS_STATE] = '~', [AXIS_REPEAT] = 'r',    [AXIS_PARTS] = 'p'};
  int axis = link.role == AXIS_OPAQUE ? -1 : link.axis;
  int length = snprintf(text, room, "%c%d", letters[link.role], axis);
  if (link.role == AXIS_SHIFT)
    length += snprintf(text + length, room - (size_t)length, "@%d", (int)link.start);
  if (link.blocks > 1) length += snprintf(text + length, room - (size_t)length, "/%d", (int)link.blocks);
  if (link.whole) length += snprintf(text + length, room - (size_t)length, "!");
  return (size_t)length;
}

/* Of the operands, between commas, and of further results, each behind a semicolon. */
static void links_text(const Node *node, char *text, size_t room) {
  size_t length = 0;
  text[0] = '\0';
  for (int i = 0; i < node->operand_count + node->result_count - 1; i++) {
    AxisLink links[MAX_RANK];
    int later = i - node->operand_count + 1;
    const Value *value = later > 0 ? result(node, later) : operand(node, i);
    if (later > 0)
      op_result_axes(node, later, links);
    else
      op_axes(node, i, links);
    length += (size_t)snprintf(text + length, room - length, "%s", later > 0 ? ";" : i ? "," : "");
    for (int axis = 0; value && axis < value->type->rank; axis++)
      length += link_text(links[axis], text + length, room - length);
  }
}

TEST(axes_and_macs) {
  for (int i = 0; i < COUNT_OF(cases); i++) {
    char text[2000], got[200];
    int length = snprintf(text, sizeof text, "%s  %s\n  return %%b\n}\n", header, cases[i].line);
    Module *module = module_new("test");
    if (CHECK(module_parse_text(module, text, (size_t)length, NULL))) {
      const Node *node = module->main->first;
      links_text(node, got, sizeof got);
      bool ok = CHECK_STRING(got, cases[i].axes);
      ok &= CHECK_STRING(node->op->macs ? dim_text(module, node->op->macs(node)) : NULL, cases[i].macs);
      if (!ok) printf("  in %s\n", cases[i].line);
    } else {
      diags_print(module, stdout, 3);
    }
    module_free(module);
  }
}

int main(void) {
  RUN(axes_and_macs);
  return tests_finish();
}
