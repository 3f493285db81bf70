/*
 * errors.c -- what user input can get wrong in an operator: one line of text form each, and a part of the
 * error it must give.
 */
#include "ir/ir.h"
#include "tests/test.h"

typedef struct Wrong {
  const char *line; /* uses the inputs of `header` */
  const char *error;
} Wrong;

static const char header[] = "graph g(%x: f32[2,3,8,9], %m: f32[4,5], %v: f32[3], %h: f16[2,3], %i: i64[2], "
                             "%u: u8[3], %b: bool[3], %s: f32, "
                             "%n: f32[N,3,K], %w: f32[4,3,3,3], %p: f32[4,2,3,3], %t: f32[2,3,8], %q: "
                             "f32[8,8], %z: f32[4,4], %k: f32[2,8]) -> (%v: f32[3]) {\n";

static const Wrong wrongs[] = {
    /* dtypes */
    {"%y: i64[2] = exp %i", "x is i64; it must be float"},
    {"%y: f32[3] = not %v", "x is f32; it must be bool"},
    {"%y: f32[3] = bitwise_not %v", "signed integer or unsigned integer"},
    {"%y: f32[3] = add %v, %u", "x is f32 but y is u8"},
    {"%y: bool[3] = add %b, %b", "x is bool"},
    {"%y: bool[3] = less %b, %b", "x is bool"},
    {"%y: f32[3] = where %v, %v, %v", "condition is f32; it must be bool"},
    {"%y: i64[2] = softmax %i", "x is i64"},
    {"%y: f32[3] = gather %v, %v", "indices is f32"},
    {"%y: u8[3] = neg %u", "x is u8; it must be float or signed integer"},
    /* running sums */
    {"%y: f32[4,5] = cum_prod %m, axis=2", "axis is 2, outside the 2 axes"},
    {"%y: f32[4,5] = cum_sum %m, axis=-3", "axis is -3, outside"},
    {"%y: bool[3] = cum_sum %b, axis=0", "x is bool"},
    {"%y: f32 = cum_sum %s, axis=0", "outside the 0 axes"},
    /* attention */
    {"%y: f32[2,3,8,9] = attention %m, %x, %x", "q is f32[4,5]"},
    {"%y: f32[2,3,8,9] = attention %x, %w, %x", "k is f32[4,3,3,3]: batch 4 against 2 of q"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, k_perm=[0,2,1,3]", "its 8 heads cannot serve the 3 of q"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, k_perm=[0,1,3,2]", "they have 9 and 8 channels"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, v_perm=[0,1,3,2]", "they have 8 and 9 positions"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, %m",
     "mask of shape f32[4,5] does not broadcast to the scores"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, y_perm=[0,1,2]", "y_perm has 3 entries; it must have 4"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, q_perm=[0,1,2,2]", "q_perm mentions axis 2 twice"},
    {"%y: f32[2,3,8,9] = attention %x, %x, %x, v_perm=[0,1,2,-1]", "must not be negative"},
    /* search */
    {"%y: f32[4,6], %e: i64[4,6] = top_k %m, k=[6]", "k is 6, more than axis 1 of x, f32[4,5], has"},
    {"%y: f32[4,2], %e: i64[4,2] = top_k %m, k=[2,2]", "k has 2 entries; it must have 1"},
    {"%y: f32[4,2], %e: i64[4,2] = top_k %m, k=[-1]", "size -1 of axis 0 in k is negative"},
    {"%y: f32[4,2], %e: i64[4,2] = top_k %m, k=[2], axis=2", "axis is 2"},
    {"%y: bool[2], %e: i64[2] = top_k %b, k=[2]", "x is bool"},
    {"%y: f32, %a: i64, %e: i64, %f: i64, %g: i64 = unique %s, axis=0", "axis is 0, outside the 0 axes"},
    {"%y: i64[9,3], %e: i64 = non_max_suppression %t, %t, %t, %s, %s, %s", "order is f32; it must be i64"},
    {"%y: i64[9,3], %e: i64 = non_max_suppression %m, %t, %t, %s, %s, %s",
     "boxes is f32[4,5]; it must have 3"},
    {"%y: i64[9,3], %e: i64 = non_max_suppression %t, %t, %t, %v, %s, %s",
     "max_boxes is f32[3]; it must have 0"},
    /* images at positions */
    {"%y: f32[2,3,8,9] = grid_sample %m, %m", "x is f32[4,5]; it must have batch, channel and spatial axes"},
    {"%y: f32[2,3,8,9] = grid_sample %x, %m", "grid is f32[4,5]; its last axis must have 2 elements"},
    {"%y: f32[2,3] = grid_sample %x, %i", "grid is i64; it must be float"},
    {"%y: f32[2,3] = grid_sample %x, %k, mode=\"cubic\", padding=\"edge\"",
     "attribute 'padding' is \"edge\""},
    {"%y: f32[4,3,1,1] = roi_align %x, %m, %i, sizes=[1,1]", "rois is f32[4,5]; its last axis must have 4"},
    {"%y: f32[4,3,1,1] = roi_align %x, %z, %i, sizes=[1,1]", "rois is f32[4,4] and images is i64[2]"},
    {"%y: f32[4,3,1,1] = roi_align %x, %z, %u, sizes=[1,1]", "they must be as many"},
    {"%y: f32[4,3,1] = max_roi_pool %x, %m, sizes=[1]", "sizes has 1 entries; it must have 2"},
    {"%y: f32[4,3,1,1] = max_roi_pool %x, %m, sizes=[1,-1]", "sizes has -1"},
    {"%y: f32[4,3,1,1] = max_roi_pool %t, %m, sizes=[1,1]", "x is f32[2,3,8]; it must have 4 axes"},
    {"%y: f32[1,1,3,3] = resize %p, sizes=[4,2,3,N], mode=\"linear\", antialias=true",
     "antialias needs a constant scale; axis 3 of f32[4,2,3,3] becomes N"},
    {"%y: f32[2,3,8,9] = resize %x, sizes=[2,3,8,9], scales=[1,1,0.01,0.1], mode=\"linear\", antialias=true",
     "antialias mixes 16000 elements"},
    /* windows as data, matrices */
    {"%y: f32[4,5] = unfold %m, size=0", "windows of 0 in steps of 1"},
    {"%y: f32[4,5] = unfold %m, size=6", "axis 1 of f32[4,5] is shorter than a window of 6"},
    {"%y: f32[4,5] = unfold %m, axis=2, size=1", "axis is 2, outside the 2 axes"},
    {"%y: f32[2,1,3,4] = col2im %t, sizes=[3,4], kernel=[2,2]", "axis 1 must be a multiple of the block's 4"},
    {"%y: f32[2,3,9] = col2im %t, sizes=[9], kernel=[1]", "x is f32[2,3,8]; the image has 9 positions"},
    {"%y: f32[2,3,9] = col2im %t, sizes=[9], kernel=[1,1]", "kernel has 2 entries; it must have 1"},
    {"%y: f32[2,3,9] = col2im %m, sizes=[9], kernel=[1]", "x is f32[4,5]; it must have 3 axes"},
    {"%y: f32 = det %m", "x is f32[4,5]; its last two axes must be one constant size"},
    {"%y: f32[N,3,K] = inverse %n", "x is f32[N,3,K]; its last two axes"},
    {"%y: f32 = det %i", "x is i64; it must be float"},
    {"%y: f32[4,5], %e: i64[4,5] = max_pool_indices %m, kernel=[2]",
     "it must have batch, channel and 1 to 6 spatial axes"},
    /* positions */
    {"%y: f32[2] = gather_nd %m, %i, batch_axes=1", "batch_axes is 1; x is f32[4,5], indices is i64[2]"},
    {"%y: f32[2] = gather_nd %v, %i", "indices, i64[2], has 2 coordinates for the 1 axes of x, f32[3]"},
    {"%y: f32 = gather_nd %m, %v", "indices is f32"},
    {"%y: f32 = gather_nd %m, %h", "indices is f16"},
    {"%y: f32[4,5] = reverse_sequence %m, %i, batch_axis=-2", "time_axis and batch_axis are both 0"},
    {"%y: f32[4,5] = reverse_sequence %m, %i", "lengths is i64[2], and axis 1 of x is f32[4,5]"},
    {"%y: f32[4,5] = scatter_elements %m, %i, %m", "indices is i64[2]; it must have 2 axes"},
    {"%y: i64[2] = scatter_elements %i, %i, %v", "x is i64 but updates is f32"},
    {"%y: f32[3] = scatter_elements %v, %i, %v", "indices is i64[2] and updates is f32[3]"},
    {"%y: i64[2] = scatter_elements %i, %i, %i, reduction=\"mean\"",
     "is \"mean\", not one of none|add|mul|min|max"},
    {"%y: f32[4,5] = scatter_nd %m, %i, %v", "updates is f32[3]; it must have 0 axes"},
    {"%y: f32[3] = scatter_nd %v, %i, %v", "indices, i64[2], has 2 coordinates for the axes of x, f32[3]"},
    {"%y: f32[4,5] = tensor_scatter %m, %m", "axis is 0, which holds the batches of x, f32[4,5]"},
    {"%y: f32[4,5] = tensor_scatter %m, %q, axis=1", "update is f32[8,8], x is f32[4,5], and axis is 1"},
    {"%y: f32[4,5] = tensor_scatter %m, %m, %i, axis=1", "starts is i64[2], and x is f32[4,5]"},
    {"%y: bool[3] = cum_sum %b, axis=0", "x is bool"},
    {"%y: f32[3] = cum_prod %v, axis=1", "axis is 1, outside the 1 axes"},
    {"%y: i64[3] = bit_cast %v, to=i64", "no bit_cast from f32 to i64"},
    /* shapes */
    {"%y: f32[3] = add %v, %m", "y of shape f32[4,5] does not broadcast"},
    {"%y: f32[3] = prelu %v, %m", "does not broadcast"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %m", "r is f32[4,5]; axis 1 must be 4"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %m, %m", "xw is f32[4,5]; it must have 3 axes"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %n, %n, packed=1", "r is f32[N,3,K]; it must have 4 axes"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %w, packed=0", "r is f32[4,3,3,3]; it must have 2 axes"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, packed=-1", "packed=-1 cannot be"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %z", "xw is f32[2,3,8]; 1 gates of 4 are 4"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, %m", "h0 is f32[4,5]; axis 0 must be 3"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, _, %v", "lengths is f32; it must be"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, _, %i", "lengths is i64[2], and the batch is 3"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, alpha=[1,2]", "alpha has 2 entries; it must have 1"},
    {"%y: f32[2,3,1], %e: f32[3,1] = rnn %t, %q, f=\"abs\"", "attribute 'f' is \"abs\", not one of"},
    {"%y: f32[2,3,2], %e: f32[3,2], %g: f32[3,2] = lstm %t, %k, _, _, _, %v",
     "peepholes is f32[3]; axis 0 must be 6"},
    {"%y: f32[3] = prelu %s, %v", "slope of shape f32[3] does not broadcast to x of shape f32"},
    {"%y: f32[3] = clip %v, %m", "min is f32[4,5]; it must have one element"},
    {"%y: f32[3] = celu %v, alpha=0", "alpha is 0"},
    {"%y: f32[7] = reshape %m, shape=[7]", "f32[4,5] has 20 elements, f32[7] has 7"},
    {"%y: f32[3,6] = reshape %m, shape=[3,-1]", "f32[4,5] has 20 elements, no multiple of the 3"},
    {"%y: f32[1] = reshape %m, shape=[-1,-1]", "more than one -1"},
    {"%y: f32[1] = reshape %m, shape=[0,-1]", "0 beside -1"},
    {"%y: f32[1] = reshape %m, shape=[-4,-5]", "negative"},
    {"%y: f32[1] = reshape %s, shape=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "shape has 17 axes; at most 16"},
    {"%y: f32[5,4] = transpose %m, perm=[1]", "perm has 1 entries; it must have 2"},
    {"%y: f32[5,4] = transpose %m, perm=[1,1]", "perm mentions axis 1 twice"},
    {"%y: f32[5,4] = transpose %m, perm=[1,2]", "perm is 2, outside the 2 axes of f32[4,5]"},
    {"%y: f32[5,4] = transpose %m, perm=[-1,0]", "must not be negative"},
    {"%y: f32[5,4] = broadcast %m, shape=[5,4]", "f32[4,5] does not broadcast to f32[5,4]"},
    {"%y: f32[5] = broadcast %m, shape=[5]", "does not broadcast"},
    {"%y: f32[4,5] = tile %m, repeats=[1]", "repeats has 1 entries"},
    {"%y: f32[4,5] = tile %m, repeats=[1,-1]", "negative"},
    {"%y: f32[4,5] = slice %m, starts=[0,3], sizes=[4,3]",
     "axis 1: 3 elements from 3 in steps of 1 leave x of shape f32[4,5]"},
    {"%y: f32[4,5] = slice %m, starts=[0,0], sizes=[4,5], steps=[1,-1]",
     "axis 1: 5 elements from 0 in steps of -1"},
    {"%y: f32[4,5] = slice %m, starts=[0,0], sizes=[4,5], steps=[0,1]", "steps[0] is 0"},
    {"%y: f32[4,5] = slice %m, starts=[0], sizes=[4,5]", "starts has 1 entries"},
    {"%y: f32[4,2] = slice %m, starts=[0,1], sizes=[4,2], steps=[1,9223372036854775807]",
     "axis 1: 2 elements"},
    {"%y: f32[4,5] = concat %m, %v, axis=0", "operand 1 is f32[3]; it must have 2 axes"},
    {"%y: f32[4,5] = concat %x, %w, axis=0", "operand 1 is f32[4,3,3,3], the first is f32[2,3,8,9]; axis 2"},
    {"%y: f32[4,5] = concat %m, %m, axis=2", "axis is 2, outside the 2 axes"},
    {"%y: f32[4,5] = concat %s, %s, axis=0", "axis is 0, outside the 0 axes"},
    {"%y: f32[4,5] = pad %m, pads=[1,1]", "pads has 2 entries; it must have 4"},
    {"%y: f32[4,5] = pad %m, pads=[-3,0,-2,0]", "axis 0 of size 4 has nothing left"},
    {"%y: f32[4,5] = pad %m, %v, pads=[0,0,0,0]", "value is f32[3]"},
    {"%y: f32[4,5] = pad %m, pads=[0,0,0,0], mode=\"mirror\"", "mode"},
    {"%y: f32[4,5] = gather %m, %i, axis=2", "axis is 2"},
    {"%y: f32[4,5] = gather_elements %m, %i", "indices is i64[2]; it must have 2 axes"},
    /* products */
    {"%y: f32[4,5] = matmul %m, %m", "k is 5 here and 4 there"},
    {"%y: f32[4,5] = matmul %m, %s", "both need an axis"},
    {"%y: f32[4,5] = matmul %x, %w", "k is 9 here and 3 there"},
    {"%y: f32[4,5] = matmul %m, %m, packed=16, n=4", "must have 3 axes"},
    {"%y: f32[4,5] = gemm %m, %m", "k is 5 here and 4 there"},
    {"%y: f32[4,4] = gemm %m, %m, %v, trans_b=true", "c of shape f32[3] does not broadcast to f32[4,4]"},
    {"%y: f32[4,4] = gemm %v, %m", "a is f32[3]; it must have 2 axes"},
    /* windows */
    {"%y: f32[2] = conv %m, %m", "x is f32[4,5]; it must have batch, channel"},
    {"%y: f32[2] = conv %x, %m", "w is f32[4,5]; it must have 4 axes"},
    {"%y: f32[2] = conv %x, %p", "in 1 groups, w is for 2"},
    {"%y: f32[2] = conv %x, %w, %v", "bias has 3 elements for 4 channels"},
    {"%y: f32[2] = conv %x, %w, group=3", "group is 3 and w makes 4 channels"},
    {"%y: f32[2] = conv %x, %w, group=2", "group is 2 and x has 3 channels"},
    {"%y: f32[2] = conv %x, %w, group=0", "group is 0"},
    {"%y: f32[2] = conv %x, %w, strides=[1]", "strides has 1 entries; it must have 2"},
    {"%y: f32[2] = conv %x, %w, strides=[1,0]", "strides has 0; it must be at least 1"},
    {"%y: f32[2] = conv %x, %w, pads=[0,0,0,-1]", "pads has -1"},
    {"%y: f32[2] = conv %x, %w, dilations=[4,4]",
     "spatial axis 0 has 8 elements with padding, the window reaches over 9"},
    {"%y: f32[2] = conv %x, %w, layout=\"nwhc\"", "layout"},
    {"%y: f32[2] = conv %x, %n", "must have 4 axes"},
    {"%y: f32[2] = winograd_weights %m", "w is f32[4,5]"},
    {"%y: f32[2] = winograd_weights %w", "it must be f32[3,3,c,m]"},
    {"%y: f32[2] = conv %x, %w, layout=\"nhwc\", winograd=2", "kernel has 0 entries; it must have 2"},
    {"%y: f32[2] = conv %x, %w, layout=\"nhwc\", winograd=3, packed=16, kernel=[3,3], channels=4",
     "winograd=3"},
    {"%y: f32[2] = conv %x, %w, layout=\"nhwc\", winograd=2, packed=16, kernel=[3,1], channels=4",
     "a 3x3 kernel"},
    {"%y: f32[2] = conv %x, %w, layout=\"nhwc\", winograd=2, packed=16, kernel=[3,3], channels=4",
     "it must be f32[1,16,9,16]"},
    {"%y: f32[2] = conv_transpose %x, %w", "do not fit"},
    {"%y: f32[2] = max_pool %x, kernel=[2]", "kernel has 1 entries; it must have 2"},
    {"%y: f32[2] = max_pool %x, kernel=[2,0]", "the window has 0 elements along spatial axis 1"},
    {"%y: f32[2] = max_pool %x, kernel=[2,10]",
     "spatial axis 1 has 9 elements with padding, the window reaches over 10"},
    {"%y: f32[2] = average_pool %m, kernel=[2]", "x is f32[4,5]"},
    /* reductions, norms, resize */
    {"%y: f32[4,1] = reduce_sum %m, axes=[2]", "axes is 2, outside the 2 axes of f32[4,5]"},
    {"%y: f32[4,1] = reduce_sum %m, axes=[1,-1]", "axes mentions axis 1 twice"},
    {"%y: i64[4,1] = arg_max %m, axis=-3", "axis is -3"},
    {"%y: f32[4,5] = softmax %m, axis=2", "axis is 2"},
    {"%y: f32[4,5] = softmax %s", "axis is -1, outside the 0 axes of f32"},
    {"%y: f32[4,5] = layer_norm %m, %v", "scale of shape f32[3] does not broadcast"},
    {"%y: f32[2,3,8,9] = batch_norm %x, %v, %v, %v, %i", "variance is i64"},
    {"%y: f32[4,5] = batch_norm %m, %v, %v, %v, %v",
     "scale is f32[3]; axis 1 of x, f32[4,5], has another size"},
    {"%y: f32[4,5] = resize %m, sizes=[4]", "sizes has 1 entries"},
    {"%y: f32[4,5] = resize %m, sizes=[4,-5]", "negative"},
    {"%y: f32[4,6] = resize %m, sizes=[4,6], scales=[1,-1]", "scales[1] is -1"},
    {"%y: f32[4,6] = resize %m, sizes=[4,6], roi=[1]", "roi has 1 entries; it must have 4"},
};

static bool mentions(const Module *module, const char *text) {
  for (const Diag *diag = module->diags; diag; diag = diag->next)
    if (strstr(diag->text, text)) return true;
  return false;
}

TEST(wrong_operands_and_attributes_are_refused) {
  for (int i = 0; i < COUNT_OF(wrongs); i++) {
    char text[2000];
    int length = snprintf(text, sizeof text, "%s  %s\n  return %%v\n}\n", header, wrongs[i].line);
    Module *module = module_new("test");
    bool refused = !module_parse_text(module, text, (size_t)length, NULL);
    if (!CHECK(refused && mentions(module, wrongs[i].error))) {
      printf("  %s\n  wanted: %s\n", wrongs[i].line, wrongs[i].error);
      diags_print(module, stdout, 3);
    }
    module_free(module);
  }
}

int main(void) {
  RUN(wrong_operands_and_attributes_are_refused);
  return tests_finish();
}
