/*
 * refused.c -- operators that are known and refused: why, and what to do instead. docs/operators.md lists
 * them.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

#define M "com.microsoft."

static const OnnxRefusal refusals[] = {
    {M "Tokenizer", "it splits texts", "split texts before the model and pass their tokens"},
    {M "BitmaskBiasDropout " M "BitmaskDropout", "it trains a model", "export the model for inference"},
    {M "BeamSearch " M "GreedySearch " M "Sampling " M "WhisperBeamSearch " M "BifurcationDetector " M
       "NGramRepeatBlock",
     "it is the loop of a text generator",
     "compile the decoder, which is a graph in its attributes, and loop in the program"},
    {M "EPContext " M "Snpe", "it holds a model compiled for another engine",
     "use the model from before that was done"},
    {M "QOrderedAttention " M "QOrderedGelu " M "QOrderedLayerNormalization " M
       "QOrderedLongformerAttention " M "QOrderedMatMul " M "QuantizeWithOrder " M "DequantizeWithOrder",
     "its operands lie in tiles of one library for GPUs",
     "quantize by QuantizeLinear and DequantizeLinear (QDQ)"},
    {M "QuantizeBFP " M "DequantizeBFP " M "MatMulFpQ4 " M "GemmFloat8",
     "its number format is known to one library only",
     "quantize by QuantizeLinear and DequantizeLinear (QDQ), or by MatMulNBits"},
    {M "PackedAttention " M "PackedMultiHeadAttention " M "PagedAttention " M "RemovePadding " M
       "RestorePadding",
     "sequences lie packed, without padding, which only servers on GPUs use",
     "export the model with padded batches"},
    {M "SampleOp", "it is an example", "leave it out"},
};

/* Whether the word is one of those in the list, with spaces between. */
static bool has_word(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *at = list; (at = strstr(at, word)); at += length)
    if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ' ')) return true;
  return false;
}

const OnnxRefusal *refusal_find(const char *qualified) {
  for (int i = 0; i < COUNT_OF(refusals) && *qualified; i++)
    if (has_word(refusals[i].names, qualified)) return &refusals[i];
  return NULL;
}
