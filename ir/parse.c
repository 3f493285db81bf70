/*
 * parse.c -- graphs from text; docs/text-form.md is the grammar. One statement per line, names before use,
 * types checked against what infer says. Stops at the first error, which carries line and column of the
 * guilty token.
 */
#include "ir/lexer.h"
#include "ir/parse_const.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 16, MAX_FILE = 1 << 30 };

typedef struct Scope {
  Graph *graph;
  Table names;   /* interned name -> Value */
  Table numbers; /* interned digits -> Value: unnamed */
  int depth;
} Scope;

/* `%name: type`, before there is a value; of a graph's inputs and outputs also `state %name: type in type`.
 */
typedef struct Declared {
  Token name;
  const char *type_start;
  const Type *type;
  bool is_state;
  const Type *room; /* of an input that is a state, else NULL */
} Declared;

typedef struct Parser {
  Lexer lexer;
  Weights weights;
} Parser;

/* ---- Values ---- */

static bool is_number(const Token *name) {
  return !name->quoted && name->string[strspn(name->string, "0123456789")] == '\0';
}

static bool check_new(Parser *parser, Scope *scope, const Token *name) {
  if (!map_get(is_number(name) ? &scope->numbers : &scope->names, name->string)) return true;
  return lexer_fail(&parser->lexer, name->start, "%.*s is defined twice", (int)name->length, name->start);
}

static bool define(Parser *parser, Scope *scope, const Token *name, Value *value) {
  TRY(check_new(parser, scope, name));
  map_set(scope->graph->module->arena, is_number(name) ? &scope->numbers : &scope->names, name->string,
          value);
  if (!is_number(name)) value_set_name(value, name->string);
  return true;
}

static bool parse_name(Parser *parser, Token *name) {
  *name = parser->lexer.token;
  if (name->kind != TOKEN_VALUE) return lexer_expected(&parser->lexer, "a name such as %x");
  return lexer_next(&parser->lexer);
}

static bool parse_declared(Parser *parser, Declared *declared) {
  TRY(parse_name(parser, &declared->name) && lexer_skip(&parser->lexer, ':'));
  declared->type_start = parser->lexer.token.start;
  return lexer_type(&parser->lexer, &declared->type);
}

static bool parse_port(Parser *parser, Declared *declared) {
  Lexer *lexer = &parser->lexer;
  bool is_state = token_is_word(lexer, "state");
  if (is_state) TRY(lexer_next(lexer));
  TRY(parse_declared(parser, declared));
  declared->is_state = is_state;
  if (!is_state || !token_is_word(lexer, "in")) return true;
  return lexer_next(lexer) && lexer_type(lexer, &declared->room);
}

/* `( a: type, ... )` */
static bool parse_declared_list(Parser *parser, Declared **list, int *count) {
  Lexer *lexer = &parser->lexer;
  *count = 0;
  *list = NULL;
  TRY(lexer_skip(lexer, '('));
  if (token_is(lexer, ')')) return lexer_next(lexer);
  for (bool more = true; more; ++*count) {
    *list = lexer_grow(lexer, *list, *count, sizeof **list);
    (*list)[*count] = (Declared){.room = NULL};
    TRY(parse_port(parser, &(*list)[*count]) && lexer_comma_or(lexer, ')', &more));
  }
  return true;
}

/* %x, or _ for none. */
static bool parse_operand(Parser *parser, Scope *scope, Value **value) {
  Lexer *lexer = &parser->lexer;
  Token token = lexer->token;
  *value = NULL;
  if (token_is_word(lexer, "_")) return lexer_next(lexer);
  if (token.kind != TOKEN_VALUE) return lexer_expected(lexer, "an operand");
  *value = map_get(is_number(&token) ? &scope->numbers : &scope->names, token.string);
  if (!*value) return lexer_fail(lexer, token.start, "%.*s is not defined", (int)token.length, token.start);
  return lexer_next(lexer);
}

static bool operand_is_next(const Lexer *lexer) {
  return lexer->token.kind == TOKEN_VALUE || token_is_word(lexer, "_");
}

/* Operands up to the first attribute; `more` says that there was a comma before it. */
static bool parse_operands(Parser *parser, Scope *scope, Value ***operands, int *count, bool *more) {
  Lexer *lexer = &parser->lexer;
  *count = 0;
  *operands = NULL;
  *more = !lexer->token.first_of_line && (operand_is_next(lexer) || lexer->token.kind == TOKEN_WORD);
  while (*more && operand_is_next(lexer)) {
    *operands = lexer_grow(lexer, *operands, *count, sizeof **operands);
    TRY(parse_operand(parser, scope, &(*operands)[(*count)++]));
    *more = token_is(lexer, ',');
    if (*more) TRY(lexer_next(lexer));
  }
  return true;
}

/* ---- Attributes ---- */

static bool parse_element(Lexer *lexer, AttrKind kind, Attr *attr, void **list) {
  int at = attr->count;
  switch (kind) {
  case ATTR_INTS:
    attr->ints = *list = lexer_grow(lexer, *list, at, sizeof *attr->ints);
    return lexer_int(lexer, (int64_t *)*list + at);
  case ATTR_FLOATS:
    attr->floats = *list = lexer_grow(lexer, *list, at, sizeof *attr->floats);
    return lexer_float(lexer, (double *)*list + at);
  default:
    attr->dims = *list = lexer_grow(lexer, *list, at, sizeof *attr->dims);
    return lexer_dim(lexer, (const Dim **)*list + at);
  }
}

static bool parse_list(Lexer *lexer, AttrKind kind, Attr *attr) {
  void *list = NULL;
  TRY(lexer_skip(lexer, '['));
  if (token_is(lexer, ']')) return lexer_next(lexer);
  for (bool more = true; more; attr->count++)
    TRY(parse_element(lexer, kind, attr, &list) && lexer_comma_or(lexer, ']', &more));
  return true;
}

static bool parse_attr_value(Lexer *lexer, AttrKind kind, Attr *attr) {
  switch (kind) {
  case ATTR_BOOL: return lexer_bool(lexer, &attr->b);
  case ATTR_INT: return lexer_int(lexer, &attr->i);
  case ATTR_FLOAT: return lexer_float(lexer, &attr->f);
  case ATTR_STRING: return lexer_string(lexer, &attr->s);
  case ATTR_DTYPE: return lexer_dtype(lexer, &attr->dtype);
  default: return parse_list(lexer, kind, attr);
  }
}

static bool parse_attr(Lexer *lexer, Node *node) {
  const Token name = lexer->token;
  if (name.kind != TOKEN_WORD) return lexer_expected(lexer, "an attribute");
  int index = op_attr_index(node->op, name.string);
  if (index < 0)
    return lexer_fail(lexer, name.start, "%s has no attribute '%s'", node->op->name, name.string);
  if (node->attrs[index].set) return lexer_fail(lexer, name.start, "'%s' is given twice", name.string);
  TRY(lexer_next(lexer) && lexer_skip(lexer, '='));
  Attr attr = {.set = true};
  TRY(parse_attr_value(lexer, node->op->attrs[index].kind, &attr));
  node->attrs[index] = attr;
  return true;
}

static bool parse_attrs(Lexer *lexer, Node *node, bool more) {
  while (more) {
    TRY(parse_attr(lexer, node));
    more = token_is(lexer, ',');
    if (more) TRY(lexer_next(lexer));
  }
  return true;
}

/* ---- Statements ---- */

static bool parse_graph(Parser *parser, Graph *graph, int depth);

static bool end_of_line(Lexer *lexer) {
  if (lexer->token.first_of_line || lexer->token.kind == TOKEN_END || token_is(lexer, '}')) return true;
  return lexer_expected(lexer, "the end of the line");
}

static bool parse_regions(Parser *parser, Node *node, int depth) {
  Lexer *lexer = &parser->lexer;
  if (!token_is(lexer, '{') || lexer->token.first_of_line) return true;
  if (!(node->op->traits & TRAIT_REGIONS))
    return lexer_fail(lexer, lexer->token.start, "%s has no region", node->op->name);
  if (depth == MAX_NESTING) return lexer_fail(lexer, lexer->token.start, "regions over %d deep", MAX_NESTING);
  TRY(lexer_next(lexer));
  while (token_is_word(lexer, "graph")) TRY(parse_graph(parser, node_add_region(node, NULL), depth + 1));
  return lexer_skip(lexer, '}');
}

static bool check_result(Parser *parser, const Node *node, int index, const Declared *declared) {
  Module *module = parser->lexer.module;
  const Type *type = node->results[index]->type;
  if (type == declared->type) return true;
  return lexer_fail(&parser->lexer, declared->type_start, "the result of %s is %s, not %s", node->op->name,
                    type_text(module, type), type_text(module, declared->type));
}

/* Infers and compares with what was declared. */
static bool finish_node(Parser *parser, Scope *scope, Node *node, const char *start, const Declared *results,
                        int count) {
  const Diag *last = parser->lexer.module->last_diag;
  if (!node_finish(node)) {
    lexer_locate(&parser->lexer, last, start);
    return false;
  }
  if (node->result_count != count)
    return lexer_fail(&parser->lexer, start, "%s gives %d results, not %d", node->op->name,
                      node->result_count, count);
  for (int i = 0; i < count; i++) {
    TRY(check_result(parser, node, i, &results[i]));
    TRY(define(parser, scope, &results[i].name, node->results[i]));
  }
  return true;
}

/* `op operands, attributes { regions }` */
static bool parse_operation(Parser *parser, Scope *scope, const Declared *results, int result_count) {
  Lexer *lexer = &parser->lexer;
  const Token name = lexer->token;
  const Op *op = name.kind == TOKEN_WORD ? op_find(name.string, name.length) : NULL;
  if (name.kind != TOKEN_WORD) return lexer_expected(lexer, "an operator");
  if (!op) return lexer_fail(lexer, name.start, "there is no operator '%s'", name.string);
  if (op == &op_return || op == &op_const)
    return lexer_fail(lexer, name.start, "%s stands at the start of its line", op->name);
  if (!(op->traits & TRAIT_REGIONS) && op->result_count != result_count)
    return lexer_fail(lexer, name.start, "%s gives %d results, not %d", op->name, op->result_count,
                      result_count);
  Value **operands;
  int count;
  bool more;
  TRY(lexer_next(lexer) && parse_operands(parser, scope, &operands, &count, &more));
  bool is_named = result_count > 0 && !is_number(&results[0].name);
  Builder builder = {.graph = scope->graph, .origin = is_named ? results[0].name.string : NULL};
  Node *node = node_new(&builder, op, operands, count);
  node_set_result_count(node, result_count);
  TRY(parse_attrs(lexer, node, more) && parse_regions(parser, node, scope->depth) && end_of_line(lexer));
  return finish_node(parser, scope, node, name.start, results, result_count);
}

static bool parse_results(Parser *parser, Scope *scope) {
  Lexer *lexer = &parser->lexer;
  Declared *results = NULL;
  int count = 0;
  for (bool more = true; more; count++) {
    results = lexer_grow(lexer, results, count, sizeof *results);
    TRY(parse_declared(parser, &results[count]) && check_new(parser, scope, &results[count].name));
    TRY(lexer_comma_or(lexer, '=', &more));
  }
  return parse_operation(parser, scope, results, count);
}

static bool parse_const(Parser *parser, Scope *scope) {
  Lexer *lexer = &parser->lexer;
  Declared declared;
  const Data *data;
  TRY(lexer_next(lexer) && parse_declared(parser, &declared) && check_new(parser, scope, &declared.name));
  if (!type_is_static(declared.type) || type_static_count(declared.type) < 0)
    return lexer_fail(lexer, declared.type_start, "the shape of a constant must be numbers, not too large");
  TRY(lexer_skip(lexer, '=') && parse_const_data(lexer, &parser->weights, declared.type, &data) &&
      end_of_line(lexer));
  Builder builder = {.graph = scope->graph};
  Value *value = build_const(&builder, declared.type, data, NULL);
  return value && define(parser, scope, &declared.name, value);
}

static bool parse_return(Parser *parser, Scope *scope, const Declared *outputs, int output_count) {
  Lexer *lexer = &parser->lexer;
  const char *start = lexer->token.start;
  Value **values;
  int count;
  bool more;
  TRY(lexer_next(lexer) && parse_operands(parser, scope, &values, &count, &more));
  if (more) return lexer_expected(lexer, "an operand");
  TRY(end_of_line(lexer));
  if (count != output_count)
    return lexer_fail(lexer, start, "%d values returned for %d outputs", count, output_count);
  const char **names = NEW_ARRAY(lexer->module->arena, const char *, count);
  for (int i = 0; i < count; i++) {
    if (!values[i]) return lexer_fail(lexer, start, "output %d is absent", i);
    names[i] = outputs[i].name.string;
    if (values[i]->type != outputs[i].type)
      return lexer_fail(lexer, outputs[i].type_start, "the output is declared as %s, but %s is returned",
                        type_text(lexer->module, outputs[i].type), type_text(lexer->module, values[i]->type));
  }
  const Diag *last = lexer->module->last_diag;
  bool ok = graph_set_outputs(scope->graph, count, values, names);
  if (!ok) lexer_locate(lexer, last, start);
  return ok;
}

/* ---- Graphs ---- */

static bool parse_statements(Parser *parser, Scope *scope, const Declared *outputs, int output_count) {
  Lexer *lexer = &parser->lexer;
  while (!token_is_word(lexer, "return")) {
    if (token_is_word(lexer, "const"))
      TRY(parse_const(parser, scope));
    else if (lexer->token.kind == TOKEN_VALUE)
      TRY(parse_results(parser, scope));
    else
      return lexer_expected(lexer, "a statement or return");
  }
  return parse_return(parser, scope, outputs, output_count);
}

static bool parse_graph_name(Lexer *lexer, Graph *graph) {
  if (lexer->token.kind != TOKEN_WORD && lexer->token.kind != TOKEN_STRING) return true;
  graph->name = lexer->token.string;
  return lexer_next(lexer);
}

/* How many of the list are states: the last ones. */
static bool count_states(Parser *parser, const Declared *list, int count, int *states) {
  *states = 0;
  for (int i = 0; i < count; i++) {
    *states += list[i].is_state;
    if (*states > 0 && !list[i].is_state)
      return lexer_fail(&parser->lexer, list[i].name.start, "states come last");
  }
  return true;
}

/* Once the values are there: the i-th state of the outputs is the next one of the i-th of the inputs. */
static bool find_states(Parser *parser, Graph *graph, const Declared *inputs, const Declared *outputs) {
  Lexer *lexer = &parser->lexer;
  int count, next_count, first;
  TRY(count_states(parser, inputs, graph->input_count, &count));
  TRY(count_states(parser, outputs, graph->output_count, &next_count));
  first = graph->input_count - count;
  if (count != next_count)
    return lexer_fail(lexer, lexer->token.start, "%d inputs are states, but %d outputs", count, next_count);
  graph->rooms = NEW_ARRAY(lexer->module->arena, const Type *, count);
  for (int i = 0; i < count; i++) {
    graph->rooms[i] = inputs[first + i].room;
    if (!graph->rooms[i])
      return lexer_fail(lexer, inputs[first + i].name.start,
                        "a state wants a room: 'in' and its largest type");
  }
  graph->state_count = count;
  const Diag *last = lexer->module->last_diag;
  bool ok = graph_check_states(graph);
  if (!ok) lexer_locate(lexer, last, inputs[first].name.start);
  return ok;
}

static bool parse_graph(Parser *parser, Graph *graph, int depth) {
  Lexer *lexer = &parser->lexer;
  Scope scope = {.graph = graph, .depth = depth};
  Declared *inputs, *outputs;
  int input_count, output_count;
  TRY(lexer_skip_word(lexer, "graph") && parse_graph_name(lexer, graph));
  TRY(parse_declared_list(parser, &inputs, &input_count));
  if (lexer->token.kind != TOKEN_ARROW) return lexer_expected(lexer, "'->'");
  TRY(lexer_next(lexer) && parse_declared_list(parser, &outputs, &output_count) && lexer_skip(lexer, '{'));
  for (int i = 0; i < input_count; i++)
    TRY(define(parser, &scope, &inputs[i].name, graph_add_input(graph, NULL, inputs[i].type)));
  return parse_statements(parser, &scope, outputs, output_count) &&
         find_states(parser, graph, inputs, outputs) && lexer_skip(lexer, '}');
}

static bool parse_module(Module *module, const char *file, const char *text, size_t length,
                         const char *weights_path) {
  Parser parser = {.weights = {.path = weights_path}};
  TRY(lexer_start(&parser.lexer, module, file, text, length));
  Graph *graph = graph_new(module, NULL, NULL);
  TRY(parse_graph(&parser, graph, 0));
  if (parser.lexer.token.kind != TOKEN_END) return lexer_expected(&parser.lexer, "the end of the text");
  module->main = graph;
  return true;
}

bool module_parse_text(Module *module, const char *text, size_t length, const char *weights_path) {
  return parse_module(module, module->file, text, length, weights_path);
}

/* ---- Files ---- */

/* The whole file from malloc; NULL with a Diag. */
static char *read_file(Module *module, const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    diag_add(module, (Diag){.file = path, .text = "cannot be opened"});
    return NULL;
  }
  char *text = NULL;
  size_t capacity = 0;
  *length = 0;
  for (;;) {
    if (*length == capacity) {
      capacity = capacity ? capacity * 2 : 1 << 16;
      char *more = capacity > MAX_FILE ? NULL : realloc(text, capacity);
      if (!more) break;
      text = more;
    }
    size_t got = fread(text + *length, 1, capacity - *length, file);
    *length += got;
    if (got == 0) break;
  }
  bool ok = feof(file) && !ferror(file);
  fclose(file);
  if (ok) return text;
  free(text);
  diag_add(module, (Diag){.file = path, .text = "cannot be read, or is too large for a text"});
  return NULL;
}

char *weights_path_of(Module *module, const char *path) {
  size_t length = strlen(path);
  if (length > 3 && strcmp(path + length - 3, ".tn") == 0) length -= 3;
  return arena_printf(module->arena, "%.*s.safetensors", (int)length, path);
}

bool module_parse_file(Module *module, const char *path) {
  size_t length;
  char *text = read_file(module, path, &length);
  if (!text) return false;
  bool ok = parse_module(module, path, text, length, weights_path_of(module, path));
  free(text);
  return ok;
}
