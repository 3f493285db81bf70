/*
 * program.h -- what the commands share: opening a model or a library, building, running, and tensors for it.
 *
 * A Program is either. A model becomes a library in a temporary folder when it is first run, so that what is
 * run is what ships; with --interpret the graph runs in the interpreter instead. Errors are Diags in
 * program->module, printed once by program_finish.
 */
#ifndef TENON_CLI_PROGRAM_H
#define TENON_CLI_PROGRAM_H

#include "cli/options.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "ir/ir.h"
#include "passes/passes.h"
#include "runtime/tenon.h"

/* An input or output. */
typedef struct Port {
  const char *name;
  Form form;
  Dtype dtype;
  int rank;                      /* RANK_UNKNOWN: any */
  int64_t dims[MAX_RANK];        /* -1: see symbols */
  const char *symbols[MAX_RANK]; /* "N", "2*N+1"; NULL for a constant */
} Port;

struct Json;

/* The tables of passes that the command knows, ending with NULL (pass_tables.c). */
extern const Pass *const pass_tables[];

typedef struct Program {
  const char *path;
  const Arguments *arguments;
  Module *module;  /* memory and Diags; of a model also the graph */
  bool is_library; /* as given */
  bool interpret;
  int input_count, output_count, state_count;
  Port *inputs, *outputs, *states;
  Tensor *held; /* what the interpreter keeps of the states from run to run; NULL: nothing yet */
  const tenon_library *library; /* NULL until opened or built */
  /* Of a model that was built: the node of each kernel, the target, what --tune measured. */
  const Node *const *kernel_nodes; /* NULL: not known */
  Target target;
  const Tuned *tuned;
  int tuned_count;
  void *handle; /* of dlopen */
  tenon_session *session;
} Program;

/* ---- Options that several verbs have ---- */

#define MODEL_OPTIONS                                                                                        \
  {"dim", 0, OPTION_SIZES, "NAME=N", "give a named size of the model a value (repeatable)"},                 \
      {"input-shape", 0, OPTION_SIZES, "NAME=AxBxC", "give an input a shape; ? keeps a size (repeatable)"},  \
      {"op", 0, OPTION_LIST, "NAME=FILE.tn", "the body of a Keras layer that is Python code (repeatable)"}
#define STATE_OPTIONS                                                                                        \
  {"state", 0, OPTION_LIST, "INPUT=OUTPUT",                                                                  \
   "keep the output as the input of the next run; * matches any text (repeatable)"},                         \
      {"max", 0, OPTION_SIZES, "NAME=N", "the largest value of a named size of a state (repeatable)"}
#define BUILD_OPTIONS                                                                                        \
  {"cpu", 0, OPTION_TEXT, "A,B,...", "compile for these processors (default: this machine's)"},              \
      {"optimize", 0, OPTION_CHOICE, "balanced|speed|size",                                                  \
       "balanced: fast, the library about as large as the model (default)"},                                 \
      {"precision", 0, OPTION_CHOICE, "fast|strict",                                                         \
       "strict: convolutions by the sums that define them, no Winograd (default fast)"},                     \
      {"tune", 0, OPTION_FLAG, NULL,                                                                         \
       "measure on this machine which schedules are fastest, and remember them"},                            \
      {"tune-seconds", 0, OPTION_SECONDS, "S", "begin no measurements after S seconds (default 60)"},        \
      {"passes", 0, OPTION_TEXT, "A,B,...", "these passes instead of the default pipeline; empty: none"}
#define QUANTIZE_OPTIONS                                                                                     \
  {"quantize", 0, OPTION_CHOICE, "int8|bf16|dynamic|w8|w4",                                                  \
   "compute products with these numbers where that is faster"},                                              \
      {"range", 0, OPTION_CHOICE, "minmax|percentile|mse|entropy",                                           \
       "how ranges follow from the samples (default mse)"},                                                  \
      {"recover", 0, OPTION_TEXT, "A,B,...",                                                                 \
       "what makes up for rounding: bias, equalize, gptq; none (default: by --quantize)"},                   \
      {"group", 0, OPTION_COUNT, "N", "weights that share a step with w4 (default 32)"},                     \
      {"prune", 0, OPTION_TEXT, "channels:S|any:S|2:4|blocks:S",                                             \
       "leave out this share: of the work with channels, else of the weights"},                              \
      {"prune-cost", 0, OPTION_CHOICE, "macs|bytes|time",                                                    \
       "what the share of channels is of (default macs)"},                                                   \
      {"no-refit", 0, OPTION_FLAG, NULL, "weights that are left do not make up for those that go"},          \
      {"distill", 0, OPTION_COUNT, "N", "then go over the samples N times, by gradients"},                   \
      {"max-drop", 0, OPTION_TEXT, "P%",                                                                     \
       "of accuracy, or of agreement with the original: layers stay f32, weights stay until it holds "       \
       "(int8 by default: 10% of outputs that are no classes)"},                                             \
      {"ledger", 0, OPTION_TEXT, "FILE.json", "write what was done to each layer there, too"},               \
      SAMPLE_OPTIONS
#define INPUT_OPTIONS                                                                                        \
  {"input", 'i', OPTION_LIST, "NAME=FILE",                                                                   \
   "an input: a .npy, .npz or .pb file, or a list [1, 2] (repeatable)"},                                     \
      {"seed", 's', OPTION_COUNT, "N", "seed of the random inputs (default 1)"}
#define SAMPLE_OPTIONS                                                                                       \
  {"calib", 0, OPTION_TEXT, "DATA",                                                                          \
   "samples: an .npz, .npy or idx file, a folder of images or of test_data_set_N"},                          \
      {"calib-samples", 0, OPTION_COUNT, "N", "take so many, evenly spread over all (default 128)"},         \
      {"eval", 0, OPTION_TEXT, "LABELS",                                                                     \
       "the class of each sample that DATA has: .npy, idx, or text with a number on each line"},             \
      {"image-size", 0, OPTION_COUNT, "N",                                                                   \
       "shorter side of images before the middle is cut out (default: they just cover the input)"},          \
      {"image-scale", 0, OPTION_TEXT, "S", "bytes become byte * S (default 1/255)"},                         \
      {"image-mean", 0, OPTION_TEXT, "M|R,G,B", "less this (default 0)"},                                    \
      {"image-std", 0, OPTION_TEXT, "S|R,G,B", "divided by this (default 1)"},                               \
      {"image-layout", 0, OPTION_CHOICE, "nchw|nhwc", "where channels are (default: as the input looks)"},   \
      {"image-channels", 0, OPTION_CHOICE, "rgb|bgr", "their order (default rgb)"}
#define EXTERNAL_OPTION                                                                                      \
  {"external-data", 0, OPTION_FLAG, NULL, "with --emit onnx: weights beside the model, in OUT.onnx.data"}
#define THREADS_OPTION {"threads", 't', OPTION_COUNT, "N", "threads to run with (default 1)"}
#define INTERPRET_OPTION                                                                                     \
  {"interpret", 0, OPTION_FLAG, NULL, "run models in the interpreter: slow, checked, the reference"}

/* ---- Programs (program.c) ---- */

bool program_open(Program *program, const char *path, const Arguments *arguments);
/* The same for a model of which some inputs (`known`: constants), or their shapes, are known. */
bool program_open_with(Program *program, const char *path, const Arguments *arguments,
                       const ImportOptions *known);
void model_ports(Program *program);               /* of a model: anew, when its graph has got other outputs */
uint32_t program_threads(const Program *program); /* of --threads; 1 or more */
/* Gets ready to run: compiles a model, opens a session. profile: count the time of each kernel. */
bool program_prepare(Program *program, bool profile);
/* Allocates the outputs. */
bool program_run(Program *program, const Tensor *inputs, Tensor *outputs);
/* Gives the growing sizes of a library's states the values of --dim, or 0. */
bool program_rewind(Program *program);
void program_close(Program *program);
/* Prints the Diags and closes; returns `code`, or BAD_INPUT if !ok. */
int program_finish(Program *program, bool ok, int code);

/* The states become inputs and outputs like others, which come last. */
void program_forget_states(Program *program);
/* Tensors for the inputs: from --input, the rest random from --seed. Sizes that nothing gives are 1, with a
 * note. */
bool program_inputs(Program *program, Tensor *inputs);

/* ---- Samples (samples.c) ---- */

/* Those of --calib and --eval for module->main, by samples_free; without --calib none, and count is 0. */
bool samples_from_options(Module *module, const Arguments *arguments, Samples *samples);

/* ---- Ports (ports.c) ---- */

Port port_of(const char *name, const Type *type, Module *module);
void ports_print(const char *title, const Port *ports, int count); /* "TITLE x: f32[N,3]", a line each */
Tensor *tensors_new(int count);                                    /* from malloc; all empty */
void tensors_free(Tensor *tensors, int count);

/* ---- Building (build.c) ---- */

/* Imports with the --dim and --input-shape of the command, and the constants and shapes that are known. */
bool build_import(Module *module, const char *path, const Arguments *arguments, const ImportOptions *known);
bool build_states(Module *module, const Arguments *arguments); /* --state and --max (states.c) */
/* What it says of passes that change results; NULL: nothing. */
typedef struct Lossy {
  Pruning *pruning;
  Quantization *quantization;
} Lossy;
/* What the command says of passes, and runs of them over module->main. */
PipelineOptions build_pipeline(Module *module, const Arguments *arguments, const Target *target,
                               const Lossy *lossy);
bool build_run(Module *module, const Arguments *arguments, const PipelineOptions *options);
/* What such a run measured with --tune; returns how many kernels. */
int build_tuned(const PipelineOptions *options, const Tuned **tuned);
/* The passes of the command, for its --cpu: both in one. */
bool build_optimise(Module *module, const Arguments *arguments, const Target *target, const Lossy *lossy);
/* Of --quantize and --prune and what belongs to them. Reads the samples, which build_run frees. */
bool build_lossy(Module *module, const Arguments *arguments, Lossy *lossy);
bool build_quantization(Module *module, const Arguments *arguments, Quantization **quantization);
/* On the samples of the quantization, if there is one. */
bool build_pruning(Module *module, const Arguments *arguments, const Quantization *quantization,
                   Pruning **pruning);
/* What both are told; false with a Diag. is_random: there is no --calib. */
bool build_ledger(Module *module, const Arguments *arguments, Ledger *ledger, bool *is_random);
/* Whether --emit wants a file for other tools, for which fewer passes run; of verbs that have it.
 */
bool emits_onnx(const Arguments *arguments);
/* Writes it, to --output. */
bool emit_onnx(Module *module, const Arguments *arguments);
bool build_target(Module *module, const Arguments *arguments, Target *target);
/* A C identifier out of a file's name. */
char *build_name(Module *module, const char *path);
const char *base_name(const char *path);

/* ---- Tensors (tensors.c) ---- */

/* "x: f32[1,2] min -1 max 1 mean 0" and the first values. */
void tensor_show(const char *name, const Tensor *tensor);
/* DIRECTORY/NAME.npy, with characters that would lead elsewhere replaced; makes the folder. Of a sequence a
 * file for each tensor, NAME.0.npy and so on. */
bool tensor_save(Module *module, const char *directory, const char *name, const Tensor *tensor);
/* Reads "[[1, 2], [3, nan]]" at *text and moves behind it. Lists in lists give the shape; a flat list takes
 * the port's, and a single number fills it. */
bool tensor_parse(Module *module, const char **text, const Port *port, Tensor *tensor);

/* ---- Talking (talk.c) ---- */

/* Whether the stream is a terminal that may be painted (NO_COLOR is not set). */
bool can_paint(FILE *stream);
/* Shown on a terminal while what follows takes over a second, and with --verbose with its time. */
void progress_begin(const Arguments *arguments, const char *what, const char *of);
void progress_end(void);
/* A bar, while a stage lasts of which the parts are known. */
void progress_count(int done, int count);
double seconds_now(void);
const char *bytes_text(int64_t bytes, char text[32]); /* "4.6 MB"; "depends on the dims" below 0 */
const char *count_text(int64_t count, char text[32]); /* "101,770" */

/* ---- Ledgers (ledger.c) ---- */

void lossy_print(const Lossy *lossy, FILE *out);          /* tables for people */
void ledgers_json(struct Json *json, const Lossy *lossy); /* an array, of the two that there are */
/* That to --ledger, if it is given. */
bool ledgers_write(Module *module, const Arguments *arguments, const Lossy *lossy);

#endif
