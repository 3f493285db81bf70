/*
 * target.c -- which machine code is made for: names to a list of Targets, a Target to LLVM's target machine,
 * and which of the x86 instruction sets in runtime/cpu.def that machine has.
 *
 * LLVM's C API does not tell what a cpu name implies. But its inliner knows: a function that needs a feature
 * is inlined only into one whose cpu has it. So one tiny function per feature is called from one function of
 * the target, and the calls that are left name what is missing.
 */
#include "codegen/codegen.h"
#include "codegen/llvm.h"
#include "runtime/model.h"

#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const feature_names[] = {
#define CPU_FEATURE(name, leaf, subleaf, reg, bit, os) name,
#include "runtime/cpu.def"
#undef CPU_FEATURE
};

/* ---- which features ---- */

static LLVMValueRef probe_function(LLVMModuleRef llvm, const char *name) {
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  return LLVMAddFunction(llvm, name, LLVMFunctionType(LLVMVoidTypeInContext(context), NULL, 0, false));
}

static void set_string(LLVMValueRef function, const char *name, const char *value) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(function));
  LLVMAddAttributeAtIndex(
      function, LLVMAttributeFunctionIndex,
      LLVMCreateStringAttribute(context, name, (unsigned)strlen(name), value, (unsigned)strlen(value)));
}

static void build_probe(LLVMModuleRef llvm, const Target *target) {
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMValueRef caller = probe_function(llvm, "caller");
  set_string(caller, "target-cpu", target->cpu);
  set_string(caller, "target-features", target->features ? target->features : "");
  LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(context, caller, "");
  for (int i = 0; i < COUNT_OF(feature_names); i++) {
    char feature[32];
    snprintf(feature, sizeof feature, "+%s", feature_names[i]);
    LLVMValueRef callee = probe_function(llvm, feature_names[i]);
    LLVMSetLinkage(callee, LLVMInternalLinkage);
    set_string(callee, "target-cpu", "x86-64");
    set_string(callee, "target-features", feature);
    LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, callee, ""));
    LLVMBuildRetVoid(builder);
    LLVMPositionBuilderAtEnd(builder, body);
    LLVMBuildCall2(builder, LLVMGlobalGetValueType(callee), callee, NULL, 0, "");
  }
  LLVMBuildRetVoid(builder);
  LLVMDisposeBuilder(builder);
}

/* Inlined functions were internal and are gone; the others stand. */
static uint64_t read_probe(LLVMModuleRef llvm) {
  uint64_t features = 0;
  for (int i = 0; i < COUNT_OF(feature_names); i++)
    if (!LLVMGetNamedFunction(llvm, feature_names[i])) features |= (uint64_t)1 << i;
  return features;
}

static uint64_t find_features(const Machine *machine) {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef llvm = LLVMModuleCreateWithNameInContext("probe", context);
  LLVMSetTarget(llvm, machine->target->triple);
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  build_probe(llvm, machine->target);
  LLVMErrorRef error = LLVMRunPasses(llvm, "cgscc(inline),globaldce", machine->ref, options);
  uint64_t features = error ? 0 : read_probe(llvm);
  if (error) LLVMConsumeError(error);
  LLVMDisposePassBuilderOptions(options);
  LLVMDisposeModule(llvm);
  LLVMContextDispose(context);
  return features;
}

/* What a feature string says: +1, -1, or 0 when it does not mention the feature. */
static int mention(const char *features, const char *name) {
  size_t length = strlen(name);
  for (const char *at = features; at && *at; at += strcspn(at, ","), at += *at == ',')
    if ((at[0] == '+' || at[0] == '-') && strncmp(at + 1, name, length) == 0 &&
        (at[length + 1] == ',' || !at[length + 1]))
      return at[0] == '+' ? 1 : -1;
  return 0;
}

/* The host's string mentions every feature, which saves the probe's milliseconds. */
static bool all_mentioned(const char *string, uint64_t *features) {
  *features = 0;
  for (int i = 0; i < COUNT_OF(feature_names); i++) {
    int said = mention(string, feature_names[i]);
    if (said == 0) return false;
    if (said > 0) *features |= (uint64_t)1 << i;
  }
  return true;
}

static bool has(const Machine *machine, const char *feature) {
  for (int i = 0; i < COUNT_OF(feature_names); i++)
    if (strcmp(feature_names[i], feature) == 0) return machine->features >> i & 1;
  return false;
}

/* ---- machines ---- */

static void initialize_llvm(void) {
  LLVMInitializeAllTargetInfos();
  LLVMInitializeAllTargets();
  LLVMInitializeAllTargetMCs();
  LLVMInitializeAllAsmPrinters();
  LLVMInitializeAllAsmParsers();
}

/* Tests whose subject is not the code that LLVM makes set TENON_QUICK=1 (docs/testing.md); with sanitizers
 * all are such that do not set it to 0. LLVM then needs a third of its time. */
static LLVMCodeGenOptLevel effort(void) {
#ifdef __SANITIZE_ADDRESS__
  const char *otherwise = "1";
#else
  const char *otherwise = "0";
#endif
  const char *quick = getenv("TENON_QUICK");
  return strcmp(quick ? quick : otherwise, "0") != 0 ? LLVMCodeGenLevelNone : LLVMCodeGenLevelLess;
}

/* Cpu and features are attributes of each function: named here too, they would also apply to the functions
 * for the oldest processor, and triple the time that LLVM takes. */
static LLVMTargetMachineRef create_machine(LLVMTargetRef llvm_target, const Target *target) {
  return LLVMCreateTargetMachine(llvm_target, target->triple, "", "", effort(), LLVMRelocPIC,
                                 LLVMCodeModelDefault);
}

static bool open_ref(Module *module, const Target *target, LLVMTargetMachineRef *ref) {
  LLVMTargetRef llvm_target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(target->triple, &llvm_target, &message)) {
    fail(module, "no code can be made for '%s': %s", target->triple, message);
    LLVMDisposeMessage(message);
    return false;
  }
  *ref = create_machine(llvm_target, target);
  return *ref || fail(module, "LLVM makes no code for '%s', cpu '%s'", target->triple, target->cpu);
}

bool machine_twin(Module *module, const Machine *machine, Machine *twin) {
  *twin = *machine;
  twin->ref = NULL;
  return open_ref(module, machine->target, &twin->ref);
}

bool machine_open(Module *module, const Target *target, Machine *machine) {
  initialize_llvm();
  *machine = (Machine){.target = target, .task_ticks = TASK_TICKS};
  TRY(open_ref(module, target, &machine->ref));
  if (strncmp(target->triple, "x86_64", 6) != 0) return true;
  if (!all_mentioned(target->features, &machine->features)) machine->features = find_features(machine);
  bool vl = has(machine, "avx512vl");
  machine->rounds = machine->pairs128 = true;
  machine->pairs256 = has(machine, "avx2");
  machine->pairs512 = has(machine, "avx512bw");
  machine->f16c = has(machine, "f16c");
  machine->vnni512 = has(machine, "avx512vnni");
  machine->vnni = machine->vnni512 && vl;
  machine->bf16 = has(machine, "avx512bf16") && vl;
  machine->scalef = machine->narrows = vl;
  machine->permutes = has(machine, "avx512vbmi") && machine->pairs512;
  machine->shuffles = has(machine, "ssse3");
  return true;
}

void machine_close(Machine *machine) {
  if (machine->ref) LLVMDisposeTargetMachine(machine->ref);
  machine->ref = NULL;
}

/* ---- names to a Target ---- */

static bool is_host(const char *name) {
  return !name || strcmp(name, "host") == 0;
}

static char *take_message(Module *module, char *message) {
  char *text = arena_printf(module->arena, "%s", message);
  LLVMDisposeMessage(message);
  return text;
}

static int64_t cache_size(int name, int64_t otherwise) {
  long bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

/* Sizes that most processors of the last years have, when the target is not this machine. */
static void describe_caches(Target *target, bool host) {
  target->l1_bytes = 32 << 10;
  target->l2_bytes = 1 << 20;
  target->l3_bytes = 32 << 20;
  if (!host) return;
  target->l1_bytes = cache_size(_SC_LEVEL1_DCACHE_SIZE, target->l1_bytes);
  target->l2_bytes = cache_size(_SC_LEVEL2_CACHE_SIZE, target->l2_bytes);
  /* What one core can count on: L3 is shared, and in virtual machines glibc reports that of more cores. */
  int64_t l3 = cache_size(_SC_LEVEL3_CACHE_SIZE, target->l3_bytes);
  if (l3 < target->l3_bytes) target->l3_bytes = l3;
}

/* Names that LLVM knows for x86-64. Cores with wide pipes multiply two vectors of 512 bits in a cycle (Zen 5,
 * Intel's servers); what others have of AVX-512 takes two pipes, or one twice. */
typedef struct Processor {
  const char *name;
  bool wide_pipes;
} Processor;

static const Processor processors[] = {
    {.name = "x86-64"},
    {.name = "x86-64-v2"},
    {.name = "x86-64-v3"},
    {.name = "x86-64-v4"},
    {.name = "nehalem"},
    {.name = "westmere"},
    {.name = "sandybridge"},
    {.name = "ivybridge"},
    {.name = "haswell"},
    {.name = "broadwell"},
    {.name = "skylake"},
    {.name = "skylake-avx512", .wide_pipes = true},
    {.name = "cascadelake", .wide_pipes = true},
    {.name = "cooperlake", .wide_pipes = true},
    {.name = "cannonlake"},
    {.name = "icelake-client"},
    {.name = "icelake-server", .wide_pipes = true},
    {.name = "tigerlake"},
    {.name = "rocketlake"},
    {.name = "alderlake"},
    {.name = "raptorlake"},
    {.name = "meteorlake"},
    {.name = "arrowlake"},
    {.name = "lunarlake"},
    {.name = "pantherlake"},
    {.name = "sapphirerapids", .wide_pipes = true},
    {.name = "emeraldrapids", .wide_pipes = true},
    {.name = "graniterapids", .wide_pipes = true},
    {.name = "graniterapids-d", .wide_pipes = true},
    {.name = "sierraforest"},
    {.name = "grandridge"},
    {.name = "clearwaterforest"},
    {.name = "bonnell"},
    {.name = "silvermont"},
    {.name = "goldmont"},
    {.name = "goldmont-plus"},
    {.name = "tremont"},
    {.name = "gracemont"},
    {.name = "knl", .wide_pipes = true},
    {.name = "knm", .wide_pipes = true},
    {.name = "core2"},
    {.name = "penryn"},
    {.name = "corei7"},
    {.name = "corei7-avx"},
    {.name = "core-avx-i"},
    {.name = "core-avx2"},
    {.name = "k8"},
    {.name = "k8-sse3"},
    {.name = "opteron"},
    {.name = "athlon64"},
    {.name = "amdfam10"},
    {.name = "barcelona"},
    {.name = "btver1"},
    {.name = "btver2"},
    {.name = "bdver1"},
    {.name = "bdver2"},
    {.name = "bdver3"},
    {.name = "bdver4"},
    {.name = "znver1"},
    {.name = "znver2"},
    {.name = "znver3"},
    {.name = "znver4"},
    {.name = "znver5", .wide_pipes = true},
};

static const Processor *find_processor(const char *name) {
  for (int i = 0; i < COUNT_OF(processors); i++)
    if (strcmp(processors[i].name, name) == 0) return &processors[i];
  return NULL;
}

static void describe_vectors(Target *target, const Machine *machine) {
  bool x86 = strncmp(target->triple, "x86_64", 6) == 0,
       avx512 = has(machine, "avx512vl") && has(machine, "avx512bw");
  target->vector_bytes = avx512 ? 64 : has(machine, "avx2") ? 32 : 16;
  target->vector_registers = avx512 || !x86 ? 32 : 16;
  target->fma = !x86 || has(machine, "fma");
  target->mask = avx512;
  target->dots = has(machine, "avx512vnni") && avx512;
  const Processor *processor = find_processor(target->cpu);
  target->fma_pipes = target->vector_bytes == 64 && !(processor && processor->wide_pipes) ? 1 : 2;
  /* Near 3.6 GHz: a round number for the cost models. */
  target->peak_gflops = 3.6 * target->fma_pipes * (target->vector_bytes / 4) * (target->fma ? 2 : 1);
  target->byte_gain = machine->vnni512 || machine->vnni ? 4 : 1;
  target->half_gain = machine->bf16 ? 2 : 0.5;
  target->read_gbps = 28;
}

/* LLVM warns on stderr and goes on when it does not know a cpu; the inliner's answers would then be those of
 * the baseline. */
static bool known_cpu(Module *module, const Target *target) {
  if (strncmp(target->triple, "x86_64", 6) != 0 || find_processor(target->cpu)) return true;
  char list[1024] = "";
  for (int i = 0; i < COUNT_OF(processors); i++) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", processors[i].name);
  }
  return fail(module, "no cpu '%s' is known for %s; known are: host, %s", target->cpu, target->triple, list);
}

/* Triples are normalized; "aarch64" alone means Linux with glibc. */
static const char *full_triple(Module *module, const char *triple) {
  if (strchr(triple, '-')) return take_message(module, LLVMNormalizeTargetTriple(triple));
  return arena_printf(module->arena, "%s-unknown-linux-gnu", triple);
}

static bool known_triple(Module *module, const char *triple) {
  LLVMTargetRef llvm_target;
  char *message = NULL;
  if (!LLVMGetTargetFromTriple(triple, &llvm_target, &message)) return true;
  LLVMDisposeMessage(message);
  char list[1024] = "";
  for (LLVMTargetRef known = LLVMGetFirstTarget(); known; known = LLVMGetNextTarget(known)) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", LLVMGetTargetName(known));
  }
  return fail(module, "LLVM knows no target '%s'; it knows: %s", triple, list);
}

/* One cpu of target->triple. */
static bool describe_cpu(Module *module, const char *host_triple, const char *cpu, Target *target) {
  bool host = is_host(cpu) && strncmp(target->triple, host_triple, strcspn(host_triple, "-") + 1) == 0;
  if (host) {
    target->cpu = take_message(module, LLVMGetHostCPUName());
    target->features = take_message(module, LLVMGetHostCPUFeatures());
  } else if (is_host(cpu)) {
    target->cpu = strncmp(target->triple, "x86_64", 6) == 0 ? "x86-64-v3" : "generic";
  } else {
    target->cpu = arena_printf(module->arena, "%s", cpu);
    TRY(known_cpu(module, target));
  }
  Machine machine;
  TRY(machine_open(module, target, &machine));
  describe_caches(target, host);
  describe_vectors(target, &machine);
  target->feature_count = __builtin_popcountll(machine.features);
  machine_close(&machine);
  return true;
}

/* A processor that has all that another one has, and more, comes before it. */
static bool is_better(const Target *a, const Target *b) {
  return a->vector_bytes != b->vector_bytes ? a->vector_bytes > b->vector_bytes
                                            : a->feature_count > b->feature_count;
}

static bool list_insert(Module *module, Target **best, Target *target) {
  for (const Target *other = *best; other; other = other->next)
    if (strcmp(other->cpu, target->cpu) == 0) return fail(module, "cpu '%s' is named twice", target->cpu);
  Target **at = best;
  while (*at && !is_better(target, *at)) at = &(*at)->next;
  target->next = *at;
  *at = target;
  return true;
}

bool target_describe(Module *module, const char *triple, const char *cpus, Target *target) {
  initialize_llvm();
  const char *host_triple = take_message(module, LLVMGetDefaultTargetTriple());
  const char *full = is_host(triple) ? host_triple : full_triple(module, triple),
             *rest = cpus ? cpus : "host";
  Target *best = NULL;
  TRY(known_triple(module, full));
  if (strchr(rest, ',') && strncmp(full, "x86_64", 6) != 0)
    return fail(module, "one cpu only for %s: its libraries cannot tell processors apart", full);
  do {
    size_t length = strcspn(rest, ",");
    Target *one = NEW(module->arena, Target);
    *one = (Target){.triple = full, .features = ""};
    TRY(describe_cpu(module, host_triple, arena_printf(module->arena, "%.*s", (int)length, rest), one));
    TRY(list_insert(module, &best, one));
    rest += length;
  } while (*rest++ == ',');
  *target = *best;
  return true;
}

const char *target_cpus(Module *module, const Target *target) {
  const char *list = target->cpu;
  while ((target = target->next)) list = arena_printf(module->arena, "%s,%s", list, target->cpu);
  return list;
}
