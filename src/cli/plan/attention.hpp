// What attention keeps of a context, reads of it for one more token, and computes. Pure.
#pragma once

#include <optional>

#include "cli/plan/shape.hpp"

namespace cubby_cli::plan {

/// How KV is stored. bf16: 2 bytes an element. fp8: as engines lay it out, with scales, rotary
/// parts in bf16 and the indexer's keys beside. bits6: 6 bits an element. fp4: 4 bits and scales.
enum class kv_format { bf16, fp8, bits6, fp4 };
const char *name_of(kv_format format);
std::optional<kv_format> kv_format_named(const std::string &name);

/// Of one layer: what one token (or one entry of several) takes, and the indexer's key of it.
double kv_entry_bytes(const model_shape &of, kv_format format);
double kv_index_bytes(const model_shape &of, const layer_group &group, kv_format format);

/// All layers, of one sequence of so many tokens.
double kv_bytes(const model_shape &of, kv_format format, double context);
/// What one more token adds when the context is long: windows are full.
double kv_bytes_per_token(const model_shape &of, kv_format format);
/// Read for one token behind such a context.
double kv_read_bytes(const model_shape &of, kv_format format, double context);
/// Attention alone, for one token behind such a context.
double attention_flops(const model_shape &of, double context);
/// 2 a parameter, and attention.
double decode_flops(const model_shape &of, double context);
/// Of all tokens from `from` to `to` of a prompt.
double prefill_flops(const model_shape &of, double from, double to);

}  // namespace cubby_cli::plan
