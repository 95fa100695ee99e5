// The backend that ggml loads: a device of type ACCEL with buffers in host memory, over llama.cpp's
// own mapping of the model. It takes MUL_MAT_ID over weights of that mapping, lookups in
// large tables of it, and nothing else;
// whatever it declines runs as without it, on the same addresses.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>

#include "expert_layer.hpp"
#include "expert_store.hpp"
#include "file_view.hpp"
#include "ggml_host.hpp"
#include "row_tables.hpp"
#include "run_counters.hpp"
#include "settings.hpp"

namespace cubby_ggml {
namespace {

constexpr size_t alignment_bytes = 64;

ggml_backend_reg *the_reg();
ggml_backend_device *the_device();
ggml_backend_buffer_type *the_buffer_type();

// ---- buffers ------------------------------------------------------------------------------------

void free_memory(ggml_backend_buffer_t buffer) { std::free(buffer->context); }

std::atomic<int> mapped_buffers = 0;

void leave_mapping(ggml_backend_buffer_t buffer) {
  --mapped_buffers;
  store().forget(buffer->context, buffer->size);
  tables().forget(buffer->context, buffer->size);
}

void *base_of(ggml_backend_buffer_t buffer) { return buffer->context; }

char *byte_of(const ggml_tensor *tensor, size_t offset) {
  return static_cast<char *>(tensor->data) + offset;
}

/// An expert tensor has its place in the mapping: its pages need not stay, wherever they came from.
ggml_status init_mapped(ggml_backend_buffer_t, ggml_tensor *tensor) {
  if (tensor->view_src == nullptr && tensor->data != nullptr)
    drop_pages(tensor->data, static_cast<uint64_t>(tensor->nb[3]));
  return GGML_STATUS_SUCCESS;
}

void memset_tensor(ggml_backend_buffer_t, ggml_tensor *tensor, uint8_t value, size_t offset,
                   size_t size) {
  std::memset(byte_of(tensor, offset), value, size);
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor *tensor, const void *data, size_t offset,
                size_t size) {
  std::memcpy(byte_of(tensor, offset), data, size);
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor *tensor, void *data, size_t offset,
                size_t size) {
  std::memcpy(data, byte_of(tensor, offset), size);
}

void clear_buffer(ggml_backend_buffer_t buffer, uint8_t value) {
  std::memset(buffer->context, value, buffer->size);
}

ggml_backend_buffer_i buffer_calls(bool mapped) {
  ggml_backend_buffer_i calls = {};
  calls.free_buffer = mapped ? leave_mapping : free_memory;
  calls.get_base = base_of;
  calls.init_tensor = mapped ? init_mapped : nullptr;
  calls.memset_tensor = memset_tensor;
  calls.set_tensor = set_tensor;
  calls.get_tensor = get_tensor;
  calls.clear = clear_buffer;
  return calls;
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t bytes) {
  const size_t whole = (bytes / alignment_bytes + 1) * alignment_bytes;
  void *memory = std::aligned_alloc(alignment_bytes, whole);
  return memory == nullptr ? nullptr : host().make_buffer(type, buffer_calls(false), memory, bytes);
}

ggml_backend_buffer_t buffer_over_mapping(ggml_backend_dev_t, void *first, size_t bytes, size_t) {
  ++mapped_buffers;
  return host().make_buffer(the_buffer_type(), buffer_calls(true), first, bytes);
}

// ---- a context's backend ------------------------------------------------------------------------

struct backend_state {
  ggml_backend_t cpu = nullptr;
  std::unique_ptr<expert_layer> layer;
  std::vector<std::byte> rows;  // that were looked up last
};

backend_state &state_of(ggml_backend_t backend) {
  return *static_cast<backend_state *>(backend->context);
}

void free_backend(ggml_backend_t backend) {
  backend_state &state = state_of(backend);
  state.layer.reset();
  state.cpu->iface.free(state.cpu);
  delete &state;
  delete backend;
}

bool is_expert_product(const ggml_tensor &node) {
  return node.op == GGML_OP_MUL_MAT_ID && node.src[0] != nullptr && node.src[1] != nullptr &&
         node.src[2] != nullptr && node.src[0]->ne[3] == 1 && node.src[1]->ne[3] == 1 &&
         node.src[1]->type == GGML_TYPE_F32 && node.src[2]->type == GGML_TYPE_I32 &&
         node.type == GGML_TYPE_F32;
}

bool is_mapped(const ggml_tensor &weights) {
  return weights.buffer != nullptr && weights.buffer->iface.free_buffer == leave_mapping;
}

std::optional<row_table> table_of(const ggml_tensor &node) {
  if (!is_row_lookup(node) || (node.flags & GGML_TENSOR_FLAG_COMPUTE) == 0) return std::nullopt;
  return is_mapped(*node.src[0]) ? tables().find(*node.src[0]) : std::nullopt;
}

std::optional<expert_place> place_of(const ggml_tensor &node) {
  if (!is_expert_product(node) || (node.flags & GGML_TENSOR_FLAG_COMPUTE) == 0) return std::nullopt;
  const ggml_tensor &weights = *node.src[0];
  if (!is_mapped(weights)) return std::nullopt;
  return store().place_of({weights.name, weights.data, weights.nb[3], weights.nb[2],
                           static_cast<uint32_t>(weights.ne[2])});
}

ggml_status compute_as_stock(backend_state &state, const ggml_cgraph &graph, int first, int end) {
  ggml_cgraph part = graph;
  part.nodes = graph.nodes + first;
  part.n_nodes = end - first;
  part.n_leafs = 0;
  part.uid = 0;
  return state.cpu->iface.graph_compute(state.cpu, &part);
}

/// Products of one row with the same ids that follow each other: gate and up.
std::vector<expert_product> products_at(const ggml_cgraph &graph, int first) {
  std::vector<expert_product> found;
  for (int i = first; i < graph.n_nodes; ++i) {
    ggml_tensor *node = graph.nodes[i];
    const auto place = place_of(*node);
    if (!place) break;
    if (!found.empty() &&
        (place->bank != found[0].place.bank || place->row != found[0].place.row ||
         node->src[2] != found[0].node->src[2] || node->src[1] != found[0].node->src[1]))
      break;
    found.push_back({node, *place});
  }
  return found;
}

bool computes_nothing(const ggml_tensor &node) {
  return node.op == GGML_OP_NONE || node.op == GGML_OP_VIEW || node.op == GGML_OP_RESHAPE ||
         node.op == GGML_OP_PERMUTE || node.op == GGML_OP_TRANSPOSE;
}

ggml_status compute_all(backend_state &state, ggml_cgraph *graph) {
  for (int i = 0; i < graph->n_nodes;) {
    if (computes_nothing(*graph->nodes[i])) {
      ++i;
      continue;
    }
    if (const auto table = table_of(*graph->nodes[i])) {
      const ggml_status status =
          look_rows_up(*table, *graph->nodes[i], state.cpu, *graph, state.rows);
      if (status != GGML_STATUS_SUCCESS) return status;
      ++i;
      continue;
    }
    const auto products = products_at(*graph, i);
    const int end = i + std::max(1, static_cast<int>(products.size()));
    layer_outcome outcome = layer_outcome::declined;
    if (!products.empty()) outcome = state.layer->run(products, *graph);
    if (outcome == layer_outcome::failed) return GGML_STATUS_FAILED;
    if (outcome == layer_outcome::declined) {
      const ggml_status status = compute_as_stock(state, *graph, i, end);
      if (status != GGML_STATUS_SUCCESS) return status;
    }
    i = end;
  }
  return GGML_STATUS_SUCCESS;
}

/// What fails leaves nothing pinned, and no exception passes through ggml.
ggml_status compute(ggml_backend_t backend, ggml_cgraph *graph) {
  backend_state &state = state_of(backend);
  ggml_status status = GGML_STATUS_ALLOC_FAILED;
  try {
    status = compute_all(state, graph);
  } catch (const std::exception &) {
    say("no memory for a product; this request is given up");
  }
  if (status != GGML_STATUS_SUCCESS) state.layer->release();
  return status;
}

const char *backend_name(ggml_backend_t) { return "cubby"; }

ggml_guid_t backend_guid() {
  static ggml_guid guid = {0x63, 0x75, 0x62, 0x62, 0x79, 0x2d, 0x6c, 0x6f,
                           0x63, 0x6b, 0x65, 0x72, 0x73, 0x2d, 0x30, 0x31};
  return &guid;
}

ggml_backend_t init_backend(ggml_backend_dev_t device, const char *) {
  auto state = std::make_unique<backend_state>();
  state->cpu = host().make_cpu_backend();
  if (state->cpu == nullptr) return nullptr;
  state->layer = std::make_unique<expert_layer>(state->cpu);
  summarize_at_exit();
  ggml_backend_i calls = {};
  calls.get_name = backend_name;
  calls.free = free_backend;
  calls.graph_compute = compute;
  return new ggml_backend{backend_guid(), calls, device, state.release()};
}

// ---- the device ---------------------------------------------------------------------------------

const char *device_name(ggml_backend_dev_t) { return "CUBBY"; }

const char *device_description(ggml_backend_dev_t) {
  return "experts in numbered lockers, in a fixed budget of host memory";
}

void device_memory(ggml_backend_dev_t, size_t *free, size_t *total) { *free = *total = 0; }

enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
  return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props *props) {
  *props = {};
  props->name = device_name(device);
  props->description = device_description(device);
  props->type = GGML_BACKEND_DEVICE_TYPE_ACCEL;
  props->caps.buffer_from_host_ptr = true;
  props->caps.mmap_support = true;
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) { return the_buffer_type(); }

/// Only what has its weights in our buffers; while a model is loaded that is a buffer of no bytes.
bool supports_op(ggml_backend_dev_t, const ggml_tensor *op) {
  return (is_expert_product(*op) || is_row_lookup(*op)) && op->src[0]->buffer != nullptr &&
         op->src[0]->buffer->buft == the_buffer_type();
}

bool supports_buffer_type(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
  return type->iface.is_host != nullptr && type->iface.is_host(type);
}

const char *buffer_type_name(ggml_backend_buffer_type_t) { return "CUBBY"; }
size_t buffer_alignment(ggml_backend_buffer_type_t) { return alignment_bytes; }
bool buffer_is_host(ggml_backend_buffer_type_t) { return true; }

ggml_backend_buffer_type *the_buffer_type() {
  static ggml_backend_buffer_type one = [] {
    ggml_backend_buffer_type made = {};
    made.iface.get_name = buffer_type_name;
    made.iface.alloc_buffer = alloc_buffer;
    made.iface.get_alignment = buffer_alignment;
    made.iface.is_host = buffer_is_host;
    made.device = the_device();
    return made;
  }();
  return &one;
}

ggml_backend_device *the_device() {
  static ggml_backend_device one = [] {
    ggml_backend_device made = {};
    made.iface.get_name = device_name;
    made.iface.get_description = device_description;
    made.iface.get_memory = device_memory;
    made.iface.get_type = device_type;
    made.iface.get_props = device_props;
    made.iface.init_backend = init_backend;
    made.iface.get_buffer_type = device_buffer_type;
    made.iface.buffer_from_host_ptr = buffer_over_mapping;
    made.iface.supports_op = supports_op;
    made.iface.supports_buft = supports_buffer_type;
    made.reg = the_reg();
    return made;
  }();
  return &one;
}

// ---- the registry -------------------------------------------------------------------------------

void say_once_nothing_to_do() {
  static std::once_flag once;
  std::call_once(once, [] {
    say("no experts in a mapped file: a model without experts, all of them on a GPU, or --no-mmap; "
        "it runs as without cubby");
  });
}

/// Called before each graph. A backend that is made says nothing of experts yet: llama-server makes
/// a context without weights first, to see what fits.
void set_thread_count(ggml_backend_t backend, int count) {
  if (mapped_buffers == 0) say_once_nothing_to_do();
  using function = void (*)(ggml_backend_t, int);
  if (auto *set = reinterpret_cast<function>(host().cpu_function("ggml_backend_set_n_threads")))
    set(state_of(backend).cpu, count);
}

void set_abort_callback(ggml_backend_t backend, ggml_abort_callback callback, void *data) {
  using function = void (*)(ggml_backend_t, ggml_abort_callback, void *);
  if (auto *set =
          reinterpret_cast<function>(host().cpu_function("ggml_backend_set_abort_callback")))
    set(state_of(backend).cpu, callback, data);
}

const char *reg_name(ggml_backend_reg_t) { return "CUBBY"; }
size_t reg_device_count(ggml_backend_reg_t) { return 1; }
ggml_backend_dev_t reg_device(ggml_backend_reg_t, size_t) { return the_device(); }

void *reg_function(ggml_backend_reg_t, const char *name) {
  if (std::strcmp(name, "ggml_backend_set_n_threads") == 0)
    return reinterpret_cast<void *>(set_thread_count);
  if (std::strcmp(name, "ggml_backend_set_abort_callback") == 0)
    return reinterpret_cast<void *>(set_abort_callback);
  return nullptr;
}

ggml_backend_reg *the_reg() {
  static ggml_backend_reg one = [] {
    ggml_backend_reg made = {};
    made.api_version = GGML_BACKEND_API_VERSION;
    made.iface.get_name = reg_name;
    made.iface.get_device_count = reg_device_count;
    made.iface.get_device = reg_device;
    made.iface.get_proc_address = reg_function;
    return made;
  }();
  return &one;
}

}  // namespace
}  // namespace cubby_ggml

/// What ggml looks for in a backend's library.
extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
  return cubby_ggml::host().find(__builtin_return_address(0)) ? cubby_ggml::the_reg() : nullptr;
}
