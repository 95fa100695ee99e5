#include "row_tables.hpp"

#include <sys/stat.h>

#include <cstring>
#include <numeric>

#include "file_view.hpp"

namespace cubby_ggml {
namespace {

std::nullopt_t refuse(const ggml_tensor &weights, const std::string &why) {
  say(std::string("table ") + weights.name + ": " + why + "; it stays with llama.cpp");
  return std::nullopt;
}

uint64_t bytes_of(const ggml_tensor &weights) { return weights.nb[3]; }

/// Is the bank's table the tensor that lies there?
bool lies_at(cubby::runtime &runtime, const cubby::bank &bank, const file_place &place,
             const ggml_tensor &weights) {
  cubby_extent first = {};
  if (cubby_bank_extent(runtime.handle(), bank.handle(), 0, 0, &first) != CUBBY_OK) return false;
  cubby_file_info file = {};
  file.struct_size = sizeof file;
  if (cubby_bank_file(runtime.handle(), bank.handle(), first.file, &file) != CUBBY_OK) return false;
  struct stat facts = {};
  return stat(file.path, &facts) == 0 && facts.st_dev == place.device &&
         facts.st_ino == place.inode && first.offset_bytes == place.offset_bytes &&
         bank.table_row_bytes() == weights.nb[1] &&
         bank.table_row_count() == static_cast<uint64_t>(weights.ne[1]);
}

/// Numbers of the rows; nothing where one is not of the table.
std::optional<std::vector<uint64_t>> rows_of(const ggml_tensor &ids, uint64_t row_count) {
  std::vector<uint64_t> rows(static_cast<size_t>(ids.ne[0]));
  for (size_t i = 0; i < rows.size(); ++i) {
    int32_t id = 0;
    std::memcpy(&id, static_cast<const char *>(ids.data) + i * ids.nb[0], sizeof id);
    if (id < 0 || static_cast<uint64_t>(id) >= row_count) return std::nullopt;
    rows[i] = static_cast<uint64_t>(id);
  }
  return rows;
}

}  // namespace

row_tables &tables() {
  static row_tables *one = new row_tables;
  return *one;
}

bool is_row_lookup(const ggml_tensor &node) {
  if (node.op != GGML_OP_GET_ROWS || node.src[0] == nullptr || node.src[1] == nullptr) return false;
  const ggml_tensor &weights = *node.src[0], &ids = *node.src[1];
  const bool one_list = ids.type == GGML_TYPE_I32 && ids.ne[1] == 1 && ids.ne[2] == 1 &&
                        ids.ne[3] == 1 && ids.nb[0] >= sizeof(int32_t);
  return one_list && node.type == GGML_TYPE_F32 && weights.ne[2] == 1 && weights.ne[3] == 1 &&
         bytes_of(weights) >= store().chosen().table_bytes_min;
}

std::optional<row_table> row_tables::find(const ggml_tensor &weights) {
  const std::scoped_lock lock(busy_);
  const cut key = {weights.data, weights.nb[1], weights.ne[1]};
  const auto known = known_.find(key);
  if (known != known_.end()) return known->second;
  remove_leaving();  // there may be room again
  return known_.emplace(key, adopt(weights)).first->second;
}

std::optional<row_table> row_tables::adopt(const ggml_tensor &weights) {
  const auto place = file_at(weights.data);
  if (!place) return refuse(weights, "it is in no mapped file, or in one that was deleted");
  cubby::runtime *runtime = store().opened_runtime();
  if (runtime == nullptr) return refuse(weights, "there is no runtime for it");
  cubby_adopt_desc how = {};
  how.struct_size = sizeof how;
  how.kind = CUBBY_BANK_ROWS;
  how.tensors = weights.name;
  auto bank = runtime->adopt(place->path.c_str(), &how);
  if (!bank) return refuse(weights, bank.why().text());
  const bool same = lies_at(*runtime, *bank, *place, weights) &&
                    same_bytes(*place, weights.data, bytes_of(weights));
  if (!same) {
    (void)runtime->remove(*bank);
    return refuse(weights, "it is another one in " + place->path + " than in memory");
  }
  if (!store().take_table_memory(bytes_of(weights))) {
    (void)runtime->remove(*bank);
    return refuse(weights, "there is no memory for it");
  }
  drop_pages(weights.data, bytes_of(weights));
  say(place->path + ": " + weights.name + ", " + std::to_string(bank->table_row_count()) +
      " rows, " + bytes_text(bytes_of(weights)) + ", are looked up in the file");
  return row_table{runtime, *bank};
}

void row_tables::forget(const void *first, uint64_t bytes) {
  const std::scoped_lock lock(busy_);
  const auto *from = static_cast<const char *>(first);
  std::erase_if(known_, [&](const auto &one) {
    const auto *at = static_cast<const char *>(std::get<0>(one.first));
    if (at < from || at >= from + bytes) return false;
    if (one.second) leaving_.push_back(*one.second);
    return true;
  });
  remove_leaving();
}

/// What is still in use stays, and is tried again.
void row_tables::remove_leaving() {
  std::erase_if(leaving_, [](const row_table &one) {
    const uint64_t bytes = one.bank.table_row_count() * one.bank.table_row_bytes();
    if (!one.runtime->remove(one.bank)) return false;
    store().give_table_memory(bytes);
    return true;
  });
}

ggml_status look_rows_up(const row_table &table, ggml_tensor &node, ggml_backend_t cpu,
                         const ggml_cgraph &graph, std::vector<std::byte> &rows) {
  const auto asked = rows_of(*node.src[1], table.bank.table_row_count());
  if (!asked) {
    say(std::string(node.src[0]->name) + " has no such row; this request is given up");
    return GGML_STATUS_FAILED;
  }
  const size_t row_bytes = table.bank.table_row_bytes();
  rows.resize(asked->size() * row_bytes);
  auto gathered = table.runtime->gather(table.bank, *asked, rows);
  auto came = gathered ? table.runtime->wait(*gathered) : cubby::result<void>(gathered.why());
  if (!came) {
    say(std::string(node.src[0]->name) + ": " + came.why().text() + "; this request is given up");
    return GGML_STATUS_FAILED;
  }
  std::vector<int32_t> numbers(asked->size());
  std::iota(numbers.begin(), numbers.end(), 0);
  ggml_tensor weights = *node.src[0], ids = *node.src[1], output = node;
  weights.data = rows.data();
  weights.ne[1] = static_cast<int64_t>(asked->size());
  weights.nb[2] = weights.nb[3] = rows.size();
  ids.data = numbers.data();
  ids.nb[0] = sizeof(int32_t);
  ids.nb[1] = ids.nb[2] = ids.nb[3] = sizeof(int32_t) * numbers.size();
  weights.view_src = ids.view_src = output.view_src = nullptr;
  output.src[0] = &weights;
  output.src[1] = &ids;
  ggml_tensor *nodes[] = {&output};
  ggml_cgraph part = graph;
  part.nodes = nodes;
  part.n_nodes = 1;
  part.n_leafs = 0;
  part.uid = 0;
  return cpu->iface.graph_compute(cpu, &part);
}

}  // namespace cubby_ggml
