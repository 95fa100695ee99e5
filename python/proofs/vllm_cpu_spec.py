"""vLLM's tiered offloading on the CPU platform: everything is vLLM's own but the copier between
its KV cache and its host memory, which in vLLM 0.32 is for GPUs alone.

    "spec_name": "CpuTieringSpec", "spec_module_path": "vllm_cpu_spec"
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from vllm.v1.kv_offload.base import OffloadingWorker, TransferResult
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec


class CpuCopyWorker(OffloadingWorker):
    """Copies at once, in the calling thread."""

    def __init__(self, caches: Any, blocks_per_chunk: int, region: SharedOffloadRegion) -> None:
        self._blocks_per_chunk = blocks_per_chunk
        self._region = region
        self._refs = caches.group_data_refs
        self._done: list[TransferResult] = []
        self._near: list[torch.Tensor] = []
        self._host: list[torch.Tensor] = []
        for each in caches.tensors:
            pages = each.tensor.view(torch.int8).view(-1, each.page_size_bytes)
            self._near.append(pages)
            bytes_of_chunk = each.page_size_bytes * blocks_per_chunk
            self._host.append(region.create_next_worker_view(bytes_of_chunk))

    def _copy_block(self, group: int, block: int, chunk: int, part: int, store: bool) -> int:
        moved = 0
        for ref in self._refs[group]:
            pages, host = self._near[ref.tensor_idx], self._host[ref.tensor_idx]
            size, first = ref.page_size_bytes, part * pages.shape[1]
            near, far = pages[block, :size], host[chunk, first : first + size]
            if store:
                far.copy_(near)
            else:
                near.copy_(far)
            moved += size
        return moved

    def _copy(self, job: int, near: Any, host: Any, store: bool) -> bool:
        began = time.monotonic()
        blocks, chunks = np.asarray(near.block_ids), np.asarray(host.block_ids)
        at_block = at_chunk = moved = 0
        for group, (count, index) in enumerate(
            zip(near.group_sizes, near.block_indices, strict=True)
        ):
            if count == 0:
                continue
            skip = index % self._blocks_per_chunk
            for i in range(count):
                whole, part = divmod(i + skip, self._blocks_per_chunk)
                chunk, block = int(chunks[at_chunk + whole]), int(blocks[at_block + i])
                moved += self._copy_block(group, block, chunk, part, store)
            at_block += count
            at_chunk += -(-(count + skip) // self._blocks_per_chunk)
        gone = time.monotonic() - began
        self._done.append(
            TransferResult(job_id=job, success=True, transfer_size=moved, transfer_time=gone)
        )
        return True

    def submit_store(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        return self._copy(job_id, src_spec, dst_spec, True)

    def submit_load(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        return self._copy(job_id, dst_spec, src_spec, False)

    def get_finished(self) -> list[TransferResult]:
        done, self._done = self._done, []
        return done

    def wait(self, job_ids: set[int]) -> None:
        """Nothing is ever on its way."""

    def shutdown(self) -> None:
        self._host.clear()
        self._near.clear()
        self._region.cleanup()


class CpuTieringSpec(TieringOffloadingSpec):
    """TieringOffloadingSpec with that copier."""

    def get_worker(self, kv_caches: Any) -> OffloadingWorker:
        if not self._worker:
            region = SharedOffloadRegion(
                engine_id=self._engine_id,
                num_chunks=self.num_chunks,
                rank=0 if self.replicated_layout else self.config.parallel.rank,
                kv_bytes_per_chunk=self.kv_bytes_per_chunk,
                cpu_page_size=self.cpu_page_size_per_worker,
            )
            self._worker = CpuCopyWorker(kv_caches, self.blocks_per_chunk, region)
        return self._worker
