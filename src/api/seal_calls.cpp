// Sealing a file.
#include "api/bank_files.hpp"
#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"
#include "store/model_file.hpp"
#include "store/seal.hpp"

using namespace cubby;
using namespace cubby::api;

cubby_status cubby_seal(cubby_handle *rt, const char *path, const cubby_adopt_desc *desc,
                        const cubby_how *how, cubby_ticket *ticket) {
  CUBBY_ENTER_WAITING(rt);  // for the file system
  if (path == nullptr) CUBBY_REFUSE("cubby_seal: path is NULL");
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    auto asked_how = read_how(self, how);
    if (!asked_how) return keep_error(asked_how.failure());
    // It may be removed while files are opened.
    const auto queue = asked_how->cq == nullptr ? nullptr : cubby_cq::find(asked_how->cq);
    auto read = read_adopt(desc);
    if (!read) return keep_error(read.failure());
    const cubby_adopt_desc asked = *read;
    auto model = open_adopted(path, asked);
    if (!model) return keep_error(model.failure());
    const std::string to =
        store::seal_path_of(*model, asked.seal_path == nullptr ? "" : asked.seal_path);
    // Not after hours of reading.
    if (auto place = store::try_place(to); !place) return keep_error(place.failure());
    std::vector<std::unique_ptr<residency::locker_bank>> banks;
    for (const store::model_bank &one : model->banks) {
      auto made = residency::locker_bank::adopt(one, model->files, one.name);
      if (!made) return keep_error(made.failure());
      banks.push_back(std::move(*made));
    }
    auto earlier = store::read_seal(to);
    const bool goes_on = earlier.ok() && store::is_untouched(*earlier, *model);
    std::vector<std::unique_ptr<bank_files>> opened;
    for (const auto &one : banks) {
      opened.push_back(std::make_unique<bank_files>(self));
      opened.back()->list = std::move(one->files);
      if (auto open = opened.back()->open(path); !open) return keep_error(open.failure());
    }
    request_place place(self, ticket == nullptr && asked_how->cq == nullptr);
    if (place.index == engine::no_index) return no_ticket();
    auto job = std::make_unique<engine::seal_job>(self.engine().state, self.engine().files,
                                                  self.engine().ios, std::move(*model),
                                                  std::move(banks), to, self.virtual_clock);
    if (goes_on) job->resume(*earlier);
    if (asked_how->cq != nullptr && (queue == nullptr || !queue->reserve())) {
      return keep_error(
          fail(CUBBY_ERR_BUSY, "the completion queue has no place left, or was removed just now"));
    }
    const uint32_t file_tier = opened.front()->tier;
    for (size_t i = 0; i < opened.size(); ++i) {
      job->take_files(i, std::move(opened[i]->list), file_tier);
    }
    const uint32_t index = place.use();
    engine::request &r = self.engine().requests[index];
    r.verb = engine::seal_verb{std::move(job)};
    prepare_request(self, r, file_tier, *asked_how);
    return submit_request(self, index, ticket);
  });
}
