"""vLLM's tiering KV offload on the CPU platform, for the proof: vLLM brings copiers for devices
only, so this spec has one that copies between two places of host memory. All else is vLLM's."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from vllm.v1.kv_offload.base import OffloadingWorker, TransferResult
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec


class HostCopier(OffloadingWorker):
    """Copies blocks of the KV cache to chunks of the primary tier, and back, at once."""

    def __init__(self, caches: Any, blocks_per_chunk: int, region: Any) -> None:
        self._per_chunk = blocks_per_chunk
        self._region = region
        self._groups = caches.group_data_refs
        self._finished: list[Any] = []
        self._cache, self._chunks = [], []
        for each in caches.tensors:
            size = each.page_size_bytes
            self._cache.append(each.tensor.view(torch.int8).view(-1, size))
            self._chunks.append(region.create_next_worker_view(size * blocks_per_chunk))

    def _pairs(self, device: Any, host: Any) -> Any:
        """Every block with its place: (group, block, chunk, which block of the chunk)."""
        blocks, chunks = np.asarray(device.block_ids), np.asarray(host.block_ids)
        block_at = chunk_at = 0
        for group, (count, first) in enumerate(
            zip(device.group_sizes, device.block_indices, strict=True)
        ):
            if count == 0:
                continue
            skipped = first % self._per_chunk
            for i in range(count):
                place = i + skipped
                chunk = int(chunks[chunk_at + place // self._per_chunk])
                yield group, int(blocks[block_at + i]), chunk, place % self._per_chunk
            block_at += count
            chunk_at += -(-(count + skipped) // self._per_chunk)

    def _copy(self, job: int, device: Any, host: Any, store: bool) -> bool:
        began, moved = time.monotonic(), 0
        for group, block, chunk, place in self._pairs(device, host):
            for ref in self._groups[group]:
                cache = self._cache[ref.tensor_idx]
                page, at = ref.page_size_bytes, place * cache.shape[1]
                here = cache[block, :page]
                there = self._chunks[ref.tensor_idx][chunk, at : at + page]
                if store:
                    there.copy_(here)
                else:
                    here.copy_(there)
                moved += page
        self._finished.append(
            TransferResult(
                job_id=job,
                success=True,
                transfer_size=moved,
                transfer_time=time.monotonic() - began,
            )
        )
        return True

    def submit_store(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        """From the KV cache."""
        return self._copy(job_id, src_spec, dst_spec, store=True)

    def submit_load(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        """Into the KV cache."""
        return self._copy(job_id, dst_spec, src_spec, store=False)

    def get_finished(self) -> list[Any]:
        """Everything: copies are done when they are submitted."""
        finished, self._finished = self._finished, []
        return finished

    def wait(self, job_ids: Any) -> None:
        """Nothing to wait for."""

    def shutdown(self) -> None:
        """Gives the memory back."""
        self._cache.clear()
        self._chunks.clear()
        self._region.cleanup()


class CpuTieringSpec(TieringOffloadingSpec):
    """vLLM's own spec, with that copier."""

    def get_worker(self, kv_caches: Any) -> HostCopier:
        """Made once."""
        if not self._worker:
            rank = 0 if self.replicated_layout else self.config.parallel.rank
            region = SharedOffloadRegion(
                engine_id=self._engine_id,
                num_chunks=self.num_chunks,
                rank=rank,
                kv_bytes_per_chunk=self.kv_bytes_per_chunk,
                cpu_page_size=self.cpu_page_size_per_worker,
            )
            self._worker = HostCopier(kv_caches, self.blocks_per_chunk, region)
        return self._worker
