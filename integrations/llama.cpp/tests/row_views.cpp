// Looks rows up in a mapped table and in views that begin where it does, over the adapter, and
// compares them with the file's. Then maps the file anew, for what is known of a mapping ends with
// it. Exit status 0 = all the same, 1 = not, 2 = usage or set-up.
//
//   row_views FILE OFFSET ROWS COLUMNS     of tensor token_embd.weight, F32, with even ROWS
#include <fcntl.h>
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

namespace {

struct mapped_file {
  char *first = nullptr;
  size_t bytes = 0;

  explicit mapped_file(const char *path) {
    const int fd = open(path, O_RDONLY);
    struct stat facts = {};
    if (fd < 0 || fstat(fd, &facts) != 0) return;
    bytes = static_cast<size_t>(facts.st_size);
    void *at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) first = static_cast<char *>(at);
    close(fd);
  }
  ~mapped_file() {
    if (first != nullptr) munmap(first, bytes);
  }
};

/// Every row of the tensor, looked up by the adapter.
bool same_rows(ggml_backend_t backend, ggml_context *in, ggml_tensor *weights) {
  ggml_tensor *ids = ggml_new_tensor_1d(in, GGML_TYPE_I32, weights->ne[1]);
  ggml_tensor *rows = ggml_get_rows(in, weights, ids);
  ggml_backend_buffer_t results = ggml_backend_alloc_ctx_tensors(in, backend);
  std::vector<int32_t> numbers(static_cast<size_t>(weights->ne[1]));
  std::iota(numbers.rbegin(), numbers.rend(), 0);  // the last row first
  ggml_backend_tensor_set(ids, numbers.data(), 0, ggml_nbytes(ids));
  ggml_cgraph *graph = ggml_new_graph(in);
  ggml_build_forward_expand(graph, rows);
  bool same = ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS;
  std::vector<char> seen(ggml_nbytes(rows));
  ggml_backend_tensor_get(rows, seen.data(), 0, seen.size());
  const size_t row_bytes = weights->nb[1];
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto *right =
        static_cast<const char *>(weights->data) + static_cast<size_t>(numbers[i]) * row_bytes;
    same = same && std::memcmp(seen.data() + i * row_bytes, right, row_bytes) == 0;
  }
  std::printf("%s: %s\n", weights->name, same ? "the rows of the file" : "OTHER ROWS");
  ggml_backend_buffer_free(results);
  return same;
}

ggml_context *new_context() {
  return ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead(), nullptr, true});
}

/// The table, and it as a table of rows twice as long, in this order or the other.
bool same_in_mapping(ggml_backend_t backend, const char *path, char **argv, bool view_first) {
  const mapped_file file(path);
  const long offset = std::atol(argv[0]), rows = std::atol(argv[1]), columns = std::atol(argv[2]);
  if (file.first == nullptr || rows < 2 || rows % 2 != 0 || columns < 1) return false;
  ggml_backend_dev_t device = ggml_backend_get_device(backend);
  ggml_backend_buffer_t buffer =
      ggml_backend_dev_buffer_from_host_ptr(device, file.first, file.bytes, file.bytes);
  ggml_context *of_weights = new_context();
  ggml_tensor *table = ggml_new_tensor_2d(of_weights, GGML_TYPE_F32, columns, rows);
  ggml_set_name(table, "token_embd.weight");
  bool same = ggml_backend_tensor_alloc(buffer, table, file.first + offset) == GGML_STATUS_SUCCESS;
  ggml_tensor *view = ggml_reshape_2d(of_weights, table, columns * 2, rows / 2);
  same = same && ggml_backend_view_init(view) == GGML_STATUS_SUCCESS;
  for (ggml_tensor *weights : {view_first ? view : table, view_first ? table : view}) {
    ggml_context *of_results = new_context();
    same = same && same_rows(backend, of_results, weights);
    ggml_free(of_results);
  }
  ggml_free(of_weights);
  ggml_backend_buffer_free(buffer);
  return same;
}

}  // namespace

int main(int argc, char **argv) {
  ggml_backend_load_all();
  ggml_backend_dev_t device = ggml_backend_dev_by_name("CUBBY");
  if (argc != 5 || device == nullptr) {
    std::fprintf(stderr, "usage: row_views FILE OFFSET ROWS COLUMNS, with the adapter loaded\n");
    return 2;
  }
  ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);
  const bool same = same_in_mapping(backend, argv[1], argv + 2, false) &&
                    same_in_mapping(backend, argv[1], argv + 2, true);
  ggml_backend_free(backend);
  return same ? 0 : 1;
}
