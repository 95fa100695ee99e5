"""The calls of cubby.h. Use `import cubby`."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, overload

from typing_extensions import Buffer, Self

Key: TypeAlias = bytes
KeyList: TypeAlias = bytes | list[bytes] | tuple[bytes, ...] | "Keys"
# Buffer protocol, __dlpack__, (address, length), RegionSpan, or a list of those.
Memory: TypeAlias = Any
AnyPath: TypeAlias = str | bytes | PathLike[str]
Keep: TypeAlias = Literal["session", "cache", "restart", "durable"]
Hint: TypeAlias = Literal["closed", "scheduled", "priority"]
IoClass: TypeAlias = Literal["demand", "committed", "forecast", "write_back"]
Seconds: TypeAlias = float | None
Parts: TypeAlias = Sequence[tuple[int, int] | None] | None

class Ticket:
    """An accepted request, which completes exactly once. Memory that was handed in is held until then, also when the ticket is dropped."""

    def wait(self, timeout: Seconds = None) -> bool:
        """Blocks, without the interpreter's lock, until the request is complete: True; or until `timeout` seconds have passed (None: never do): False. Raises the request's error."""

    def cancel(self) -> None:
        """Withdraws interest in the request, which still completes once."""

    @property
    def done(self) -> bool:
        """Whether the request is complete. Does not block."""

    @property
    def status(self) -> int:
        """A status of cubby.Status as an int; PENDING until wait() or a queue reported the end."""

    @property
    def item_status(self) -> list[int]:
        """One status an item, as a list of int; each is final once it is not PENDING."""

    @property
    def handle(self) -> int:
        """The number of the ticket, as completions name it; 0 = it was complete at once."""

class Completion:
    """One completed request."""

    @property
    def user(self) -> int:
        """The number that was given with the request."""

    @property
    def ticket(self) -> int:
        """Ticket.handle of the request."""

    @property
    def status(self) -> int:
        """OK, PARTIAL, MISS or an error: a status of cubby.Status as an int."""

    @property
    def ok_count(self) -> int:
        """Items that are OK."""

    @property
    def item_count(self) -> int:
        """Of how many items."""

    @property
    def bytes(self) -> int:
        """Bytes moved for it."""

    @property
    def issued_ns(self) -> int:
        """When it was accepted, in ns of CLOCK_MONOTONIC."""

    @property
    def done_ns(self) -> int:
        """When it was over, in ns of CLOCK_MONOTONIC."""

    @property
    def error(self) -> Exception | None:
        """The exception, not raised, of one that failed; else None."""

class CompletionQueue:
    """Completions of requests that named this queue. It holds a bounded number; a request that finds no place is BusyError, so that none is ever lost. May outlive its runtime."""

    def fileno(self) -> int:
        """A descriptor that is readable exactly while the queue is not empty; for select, poll and asyncio. It is the queue's: never read from it and never close it."""

    def take(self, max_count: int = 64) -> list[Completion]:
        """Takes completions, at most max_count; an empty list when there are none. Does not block."""

    def wait(self, timeout: Seconds = None) -> bool:
        """Blocks, without the interpreter's lock, until there is something to take: True; or until `timeout` seconds have passed (None: never do): False."""

    def close(self) -> None:
        """Ends the queue. BusyError while a request names it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class View:
    """One part of a pinned locker, read-only, or of a reserved one, to be written: memoryview(view), numpy.frombuffer(view) and torch.from_dlpack(view) copy nothing. The frame stays where it is as long as such a buffer is in use."""

    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Size in bytes."""

    @property
    def address(self) -> int:
        """Address of the first byte; stands until the pins are released."""

    def __dlpack__(
        self,
        *,
        stream: object | None = None,
        max_version: object | None = None,
        dl_device: object | None = None,
        copy: object | None = None,
    ) -> object:
        """A tensor of unsigned bytes over this memory."""

    def __dlpack_device__(self) -> tuple: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Of memory of a device: unsigned bytes, read-only. The pins are to be held as long as it is in use; nobody says when that ends, as DLPack's consumers do."""

class Pins:
    """Lockers held in place, all or none. A context manager: they are released at its end, or when the last buffer over one of them goes."""

    def __len__(self) -> int: ...
    def wait(self, timeout: Seconds = None) -> bool:
        """Blocks until all are there: True; or `timeout` seconds have passed: False."""

    def status(self, item: int) -> int:
        """Status of an item: OK once it may be used, PENDING while it is on its way."""

    def view(self, item: int, part: int = 0) -> View | None:
        """A read-only View of a part, or None where its row lacks the part."""

    def address(self, item: int, part: int = 0) -> int:
        """Address of a part, read-only; 0 while it is not there. Stands until release()."""

    @property
    def done(self) -> bool:
        """Whether all that was asked for has come, or failed. Does not block."""

    def release(self, stream: object | None = None) -> None:
        """Gives the frames back, and withdraws what is still loading. May be called twice. stream: of a device's tier, once this stream has done what it was given so far; where the stream is refused, an exception says so and the frames stay pinned."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class Lease:
    """Keys that stay findable, with their bytes where they are, until end() or until their time is over. A context manager. One that is dropped ends, with a ResourceWarning."""

    def end(self) -> None:
        """Ends the lease. May be called twice."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class Reservation:
    """Frames of blocks that are written in place: nobody finds them before commit(). A context manager: what is left at its end is abandoned."""

    def __len__(self) -> int: ...
    def view(self, item: int, part: int = 0) -> View | None:
        """A View of a part, to be written; None: the key is known already, and nothing need be written."""

    def address(self, item: int, part: int = 0) -> int:
        """Address of a part, to be written until the commit; 0: the key is known already."""

    def commit(
        self, first: int = 0, count: int = 0, *, keep: Keep | None = None, ttl_ms: int = 0
    ) -> None:
        """Publishes blocks first to first + count - 1, each once, or all that are left; returns once they can be found, as put(). keep: longer than the reservation said, or None. BufferError while a buffer over one of them is in use."""

    def submit_commit(
        self,
        first: int = 0,
        count: int = 0,
        *,
        keep: Keep | None = None,
        ttl_ms: int = 0,
        queue: CompletionQueue | None = None,
        user: int = 0,
    ) -> Ticket:
        """As commit(), without waiting for the store: a Ticket."""

    def abandon(self, first: int = 0, count: int = 0) -> None:
        """Gives blocks up; nobody ever finds them. BufferError while a buffer over one of them is in use."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class Tier:
    """A tier of one runtime."""

    @property
    def handle(self) -> int:
        """The number of the tier, as cubby.h calls name it."""

    @property
    def name(self) -> str: ...
    def describe(self) -> dict[str, Any]:
        """What the tier turned out to be: a dict; 'io' is the path in use, 'why' says why it is and what would allow a better one."""

    def resize(self, budget_bytes: int) -> Ticket:
        """Another budget. The Ticket completes when it holds; BudgetError if pinned bytes alone exceed it."""

class RegionSpan:
    """A piece of a region; memory for get and put."""

    @property
    def offset_bytes(self) -> int: ...
    @property
    def bytes(self) -> int: ...

class Region:
    """Memory of the caller that the runtime knows."""

    @property
    def handle(self) -> int: ...
    def __len__(self) -> int: ...
    def span(self, offset_bytes: int, bytes: int) -> RegionSpan:
        """A piece of it, as memory for get and put: without staging."""

    def remove(self) -> None:
        """BusyError while a tier or a request uses it."""

class Bank:
    """A grid of lockers: number = row * columns + column."""

    @property
    def handle(self) -> int:
        """The number of the bank, as cubby.h calls name it."""

    @property
    def kind(self) -> int:
        """0 experts, 1 KV blocks, 2 pages of rows, 3 other."""

    @property
    def rows(self) -> int:
        """Rows of the grid (experts: layers that have experts)."""

    @property
    def columns(self) -> int:
        """Columns of the grid (experts: experts of a layer)."""

    @property
    def part_count(self) -> int:
        """Parts of one locker with a view of their own."""

    @property
    def row_layers(self) -> list[int]:
        """The model's layer of each row."""

    def __len__(self) -> int: ...
    def number(self, row: int, column: int) -> int:
        """The number of a locker in the grid."""

    def locker_bytes(self, row: int = 0) -> int:
        """Size in bytes of every locker of a row."""

    def part(self, row: int, part: int) -> dict[str, Any]:
        """What a part is: a dict of name, type, tensor, bytes and shape (fastest dimension first; 0 = unknown)."""

    def files(self) -> list[dict[str, Any]]:
        """The files that an adopted or mapped bank reads: dicts of path, bytes, sealed."""

    def add_copy(self, path: AnyPath) -> None:
        """Reads an adopted bank from one more device, where `path` is a copy of its file (of a set: of its first; the others lie beside it). What one device cannot read, or has damaged, comes from the other."""

    def map(
        self, files: Sequence[AnyPath], extents: Sequence[tuple[int, int, int, int, int]]
    ) -> None:
        """Has the lockers of an empty bank read from files of any kind, in place and read-only: (number, part, file, offset_bytes, bytes) of each part of each locker; file counts `files` from 0."""

    def extent(self, number: int, part: int = 0) -> tuple[int, int, int, int, int]:
        """Where a part of a locker lies: (number, part, file, offset_bytes, bytes), as map() takes it."""

    @property
    def table_row_bytes(self) -> int:
        """Size of a row of a table; 0 = no table."""

    @property
    def table_row_count(self) -> int:
        """Rows of a table in all."""

    def page_of(self, table_row: int) -> int:
        """The locker in which a row of the table lies, for prefetch()."""

    def gather(
        self,
        table_rows: Sequence[int] | Buffer,
        into: Memory,
        *,
        no_visit: bool = False,
        no_wait: bool = False,
        bypass: bool = False,
    ) -> None:
        """Copies rows of a table into memory of the caller, one behind the other in the order asked, and waits for it. table_rows: an array of 64-bit integers, or a sequence of int. no_wait: rows that are not in memory are MissError."""

    def submit_gather(
        self,
        table_rows: Sequence[int] | Buffer,
        into: Memory,
        *,
        io_class: IoClass = "demand",
        deadline_ns: int = 0,
        queue: CompletionQueue | None = None,
        user: int = 0,
    ) -> Ticket:
        """As gather(), without waiting: a Ticket. Its memory is written until it is complete. What is complete at once (Ticket.handle is 0) does not come through the queue."""

    def slots(self, tier: Tier) -> Slots:
        """Makes the slot table of a bank that has files, in a tier of a device's memory, or of an emulated device: Slots. BusyError: there is one; NotSupportedError where the device cannot have one."""

    def pin(
        self,
        numbers: Sequence[int],
        tier: Tier,
        *,
        wait: bool = True,
        no_visit: bool = False,
        no_wait: bool = False,
        bypass: bool = False,
        io_class: IoClass = "demand",
        deadline_ns: int = 0,
        stream: object | None = None,
    ) -> Pins:
        """Holds lockers in a tier, to be used in place. wait=False returns at once: items are usable as their status becomes OK. no_wait: what is not resident is MissError. no_visit: not evidence of use. bypass: no copy stays after the release. stream: of a device's tier, an int or a torch.cuda.Stream: what it is given next waits for the bytes, the host does not."""

    def prefetch(
        self,
        numbers: Sequence[int],
        tier: Tier,
        *,
        queue: CompletionQueue | None = None,
        user: int = 0,
    ) -> Ticket:
        """Brings lockers near without holding them. The Ticket may be dropped."""

    def verify(self, numbers: Sequence[int], tier: Tier) -> list[int]:
        """Holds what lies in a tier of memory, a device's too, against its digests: a list of a cubby.Status each, OK, MISS (it is not there; nothing is loaded) or CORRUPT (its bytes are others; the copy is given up, and the next pin brings it again). NotSupportedError with Runtime(verify=False)."""

    def submit_verify(
        self,
        numbers: Sequence[int],
        tier: Tier,
        *,
        queue: CompletionQueue | None = None,
        user: int = 0,
    ) -> Ticket:
        """As verify(), without waiting: a Ticket, whose item_status says of each."""

    def drop(self, numbers: Sequence[int], tier: Tier | None = None) -> None:
        """Gives up copies in a tier, or everywhere (None). BusyError when one is pinned."""

    def estimate(self, numbers: Sequence[int], tier: Tier) -> list[int]:
        """When each would be usable in the tier if asked for now, in ns from now. No I/O."""

    def hint_route(self, row: int, columns: Sequence[int], ahead: int = 1) -> None:
        """Notes that these columns of a row are expected `ahead` tokens from now."""

    def visit(self, row: int, columns: Sequence[int], slot: int = 0) -> None:
        """Reports what was used, for pins with no_visit. slot: which sequence of the batch."""

    def remove(self) -> None:
        """Removes the bank. BusyError while it is pinned or in flight."""

class DeviceArray:
    """Numbers of 64 bits, read-only and unsigned, in a device's memory (an emulated one's is the host's): torch.from_dlpack(array) copies nothing."""

    @property
    def address(self) -> int:
        """Of the first number, in the device."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, packed."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""

    def __len__(self) -> int: ...
    def __dlpack__(
        self,
        *,
        stream: object | None = None,
        max_version: object | None = None,
        dl_device: object | None = None,
        copy: object | None = None,
    ) -> object:
        """A tensor of unsigned 64-bit numbers."""

    def __dlpack_device__(self) -> tuple: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Of a real device: the same, for as long as the table stands."""

class Slots:
    """The slot table of a bank in a device's memory: kernels find its lockers by number, and what they do not find is loaded while their stream waits in the device. A context manager: hold it as long as a kernel uses the table."""

    @property
    def rows(self) -> int:
        """Of the bank."""

    @property
    def columns(self) -> int:
        """Of the bank."""

    @property
    def part_count(self) -> int:
        """Of the bank."""

    @property
    def miss_count_max(self) -> int:
        """Places of the list of what was not there, a power of two."""

    def remove(self) -> None:
        """No kernel uses the table any more. BufferError while a tensor over one of its arrays is in use; BusyError where what it loads takes long: it goes by itself then. May be called twice."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...
    @property
    def entries(self) -> DeviceArray:
        """A word a locker: where it is, and of what generation (cubby_device.cuh has the bits)."""

    @property
    def asked(self) -> DeviceArray:
        """A word a locker: as what it was asked for last; written by kernels."""

    @property
    def part_offsets(self) -> DeviceArray:
        """Of a part in a frame; ~0 where its row lacks the part."""

    @property
    def state(self) -> int:
        """Address of counters that are the device's own."""

    @property
    def shared(self) -> int:
        """Address, in the device, of host memory that it reaches: progress, and what it lacks."""

    @property
    def base(self) -> tuple[int, ...]:
        """Of each part: address of frame 0; frame f begins f * stride_bytes behind it."""

    @property
    def stride_bytes(self) -> tuple[int, ...]:
        """Of each part: from one frame to the next."""

    @property
    def struct_bytes(self) -> bytes:
        """The struct cubby_slots, which kernels are given by value."""

class Keys:
    """Keys made once and used often. Keys([b'..', ..]), or Keys(buffer, key_bytes) over one buffer of keys of one length, which is not copied and must not be changed."""

    @overload
    def __init__(self, keys: list[bytes] | tuple[bytes, ...]) -> None: ...
    @overload
    def __init__(self, buffer: Buffer, key_bytes: int) -> None: ...
    def __len__(self) -> int: ...

class Space:
    """Keys of one model, layout, rank and tenant; nothing is found across spaces."""

    @property
    def handle(self) -> int:
        """The number of the space, as cubby.h calls name it."""

    @property
    def bank(self) -> Bank:
        """The bank where its blocks live."""

    def match(
        self, keys: KeyList, after: Key | None = None, trailing: int = 0, parts: Parts = None
    ) -> int:
        """Length of the longest usable prefix of keys: 0 to len(keys). No I/O, no waiting. keys: bytes, a list or tuple of bytes, or Keys. keys[0] is a root or follows the key `after`. trailing: of the prefix only the last so many have to be there; 0 = all. parts: of blocks of several parts, one of (trailing, group) or None a part: the part has to be at the last key of each group of so many keys, in the last so many groups (0 = all); None = nowhere."""

    def states(self, keys: KeyList, after: Key | None = None) -> bytes:
        """Where each key's bytes are, as one byte a key of cubby.State, also behind the first miss. No I/O, no waiting."""

    def restorable(
        self, keys: KeyList, after: Key | None = None, trailing: int = 0, parts: Parts = None
    ) -> list[int]:
        """Every length of a prefix that is usable, in ascending order; the last one is what match() answers. No I/O, no waiting."""

    def hint(
        self, kind: Hint, keys: KeyList, *, when_ns: int = 0, priority: int = 0, ttl_ns: int = 0
    ) -> bytes:
        """Tells what the engine knows of keys. kind: 'closed' (the conversation is over, or the content superseded), 'scheduled' (asked for in when_ns), 'priority' (higher stays longer). ttl_ns: how long it holds; 0 = not said. One byte a key of cubby.Outcome."""

    def split(self, keys: KeyList, tier: Tier, recompute_ns: list[int]) -> dict[str, Any]:
        """Load or recompute: which keys of the prefix to load so that all of it is ready first. recompute_ns: ns to compute each key. A dict of load_first, load_count, finish_ns, recompute_all_ns and load_all_ns."""

    def get(
        self,
        keys: KeyList,
        into: Memory,
        *,
        priority: int = 0,
        deadline_ns: int = 0,
        bypass: bool = False,
        stream: object | None = None,
    ) -> bool | list[bool]:
        """Copies blocks into memory of the caller and waits for it. One key: whether it was there. Several: a list of that; `into` is then a list of as many, or one memory cut into equal parts. What is not there leaves its memory as it was. bypass: what is on disk is read past the tiers, and no copy stays in them. Memory: see docs/python.md. stream: of a device's memory, an int or a torch.cuda.Stream: the copies begin behind what it was given so far, and what it is given next waits for them, the host does not."""

    def put(
        self,
        keys: KeyList,
        memory: Memory,
        *,
        after: Key | None = None,
        chain: bool = False,
        keep: Keep = "session",
        ttl_ms: int = 0,
        priority: int = 0,
        bypass: bool = False,
        stream: object | None = None,
    ) -> None:
        """Copies memory of the caller into blocks; returns once they can be found. A known key moves nothing. chain: each key follows the one before it, the first one follows `after`. keep: 'session', 'cache', 'restart' or 'durable'. bypass: what is to outlive the process is written from where it lies, and no copy stays in memory. stream: of a device's memory, which is read once this stream has done what it was given so far."""

    def submit_get(
        self,
        keys: KeyList,
        into: Memory,
        *,
        queue: CompletionQueue | None = None,
        user: int = 0,
        priority: int = 0,
        deadline_ns: int = 0,
        bypass: bool = False,
        stream: object | None = None,
    ) -> Ticket:
        """As get(), without waiting: a Ticket. Its memory is written until it is complete. What is complete at once (Ticket.handle is 0) does not come through the queue."""

    def submit_put(
        self,
        keys: KeyList,
        memory: Memory,
        *,
        after: Key | None = None,
        chain: bool = False,
        keep: Keep = "session",
        queue: CompletionQueue | None = None,
        user: int = 0,
        ttl_ms: int = 0,
        priority: int = 0,
        bypass: bool = False,
        stream: object | None = None,
    ) -> Ticket:
        """As put(), without waiting for the store: a Ticket. The memory was read when the call returns; with bypass, and a device's, it is read until completion."""

    def pin(
        self, keys: KeyList, tier: Tier, *, wait: bool = True, stream: object | None = None
    ) -> Pins:
        """Holds blocks in place; MissError where one is not there. stream: as for Bank.pin()."""

    def reserve(
        self,
        keys: KeyList,
        tier: Tier,
        *,
        after: Key | None = None,
        chain: bool = False,
        keep: Keep = "session",
        block_bytes: int = 0,
    ) -> Reservation:
        """Frames of new blocks in a tier of host memory, to be written in place: a Reservation. All or none: BusyError without room now. after, chain, keep: as for put(). block_bytes: how many bytes each block will have; 0 = all."""

    def verify(self, keys: KeyList, tier: Tier) -> list[int]:
        """Holds blocks that lie in a tier of memory against their digests: a list of a cubby.Status each, as Bank.verify()."""

    def submit_verify(
        self, keys: KeyList, tier: Tier, *, queue: CompletionQueue | None = None, user: int = 0
    ) -> Ticket:
        """As verify(), without waiting: a Ticket, whose item_status says of each."""

    def drop(self, keys: KeyList, tier: Tier | None = None) -> None:
        """Forgets keys: in a tier, or everywhere (None). BusyError when one is pinned."""

    def lease(self, keys: KeyList, ttl_ms: int = 0) -> Lease:
        """Holds keys findable until the Lease ends or ttl_ms have passed (0: until it ends). MissError where one is not there."""

    def remove(self) -> None:
        """Closes the space. Blocks that outlive the process stay in the store."""

class Runtime:
    """A runtime: tiers of memory and files, and lockers in them. A context manager. Not usable in a child of fork (ForkedError): open another one there. Every call may be made from any thread."""

    def __init__(
        self,
        *,
        pump: str = "thread",
        verify: bool = True,
        policy: str | None = None,
        workers: int | None = None,
        tickets_max: int = 0,
        log_lines_max: int = 0,
        table_bytes_max: int = 0,
        seed: int = 0,
        profile: AnyPath | None = None,
    ) -> None:
        """pump: 'thread' (one of its own advances it) or 'caller' (poll() and waits do). verify: hold what is loaded against its digests. workers: threads that verify beside the pump; None = as many as are worth it, 0 = none. A 0 in the others means the default. profile: a file of `cubby characterize --save`, so that estimates and splits know how fast directories are read before anything was."""

    def add_tier(
        self,
        backend: str,
        name: str,
        budget_bytes: int = 0,
        *,
        rank: int = 0,
        paths: Sequence[AnyPath] = [],
        memory: Sequence[Region] = [],
        exclusive: bool = False,
        device: int = -1,
        numa_nodes: int = 0,
        emulated_latency_ns: int = 0,
        emulated_bytes_per_s: int = 0,
    ) -> Tier:
        """Adds a tier. backend: 'host' (memory), 'file' (a store of KV blocks in `paths`, of budget_bytes), or another one of the library. rank: 0 is nearest to compute. memory: Regions lent as its frames; none = its own. Blocks until its memory or store is there."""

    def add_bank(
        self,
        name: str,
        kind: str,
        rows: int,
        columns: int,
        locker_bytes: int,
        *,
        part_bytes: Sequence[int] = [],
        align_bytes: int = 0,
        chunk_bytes: int = 0,
        routed_count: int = 0,
        policy: str | None = None,
        table_row_bytes: int = 0,
        table_row_count: int = 0,
    ) -> Bank:
        """Adds an empty bank of rows * columns lockers of locker_bytes each. kind: 'kv', 'experts', 'rows' (pages of table_row_count rows of table_row_bytes) or 'other'."""

    def adopt(
        self,
        path: AnyPath,
        *,
        tensors: str | None = None,
        seal_path: AnyPath | None = None,
        rows: bool = False,
        page_bytes: int = 0,
    ) -> Bank:
        """Adopts the experts of a GGUF or safetensors file in place, also of a split or sharded one; nothing is copied. rows=True: the tensor of two dimensions that `tensors` names, as pages of rows for gather(). Blocks while headers are read."""

    def add_space(self, bank: Bank, fingerprint: bytes, domain: bytes = ...) -> Space:
        """Opens a space of keys of a bank of kind 'kv'. fingerprint: bytes that name all that makes blocks interchangeable (model, dtype, layout, rank); domain: the tenant."""

    def add_region(
        self, memory: Memory, *, piece_bytes: int = 0, stride_bytes: int = 0, piece_count: int = 0
    ) -> Region:
        """Makes writable memory of the caller known: it is held until the region is removed or the runtime closed. With piece_count: of it so many pieces of piece_bytes each, stride_bytes apart; its bytes count through them as if they lay one behind the other, and as memory of a tier each piece is a frame. Memory of a device: an object with __cuda_array_interface__."""

    def queue(self, capacity: int = 1024) -> CompletionQueue:
        """A CompletionQueue with places for `capacity` requests."""

    def seal(
        self,
        path: AnyPath,
        *,
        tensors: str | None = None,
        seal_path: AnyPath | None = None,
        rows: bool = False,
        page_bytes: int = 0,
    ) -> Ticket:
        """Writes digests of a model file, to hold later loads against. A Ticket."""

    def drain(self, timeout: Seconds = None) -> bool:
        """Blocks until nothing is in flight: True; or `timeout` seconds have passed: False."""

    def poll(self) -> int | None:
        """Caller pump: advances until nothing more can be done now. When to call again, in ns of CLOCK_MONOTONIC, or None. BusyError while another thread polls."""

    def close(self) -> None:
        """Completes or cancels what is open, writes back what was promised and ends the runtime. May be called twice. BufferError while buffers over pinned memory are in use; at the end of a `with` that an exception ends, that one stands, and the runtime ends with its last name."""

    @property
    def closed(self) -> bool:
        """Whether close() was called."""

    def stats(self) -> dict[str, Any]:
        """Counters since the runtime was opened: a dict of int, with a list of a dict a tier under 'tiers'. Names and units as in cubby.h."""

    def metrics(self) -> str:
        """The counters as text for Prometheus; docs/metrics.md lists the names."""

    def publish(self, interval: float = 1.0) -> None:
        """Shows the metrics to other processes of this user, renewed every `interval` seconds: `cubby top` finds them. 0 ends it."""

    def take_log(self, max_count: int = 64) -> list[tuple[int, int, int, str]]:
        """Takes lines of the log: a list of (at_ns, level, tier, text); level 0 error, 1 warning, 2 notice, 3 detail."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class Policy:
    """A placement policy alone, for a cache of blocks that somebody else keeps; policy.h says what has to be called when. Objects are numbers below object_count; one that is inserted twice, or removed while it is not there, is a ValueError. For one thread at a time."""

    def __init__(
        self, name: str, *, object_count: int, budget_bytes: int, object_bytes: int, seed: int = 0
    ) -> None:
        """name: one of cubby.policies(). budget_bytes: what may be resident together; object_bytes: size of one."""

    @property
    def name(self) -> str: ...
    @property
    def head_first(self) -> bool:
        """Whether it takes a request's blocks from the first to the last; others take them from the last to the first."""

    def access(
        self,
        object: int,
        parent: int | None = None,
        depth: int = 0,
        last: bool = False,
        *,
        number: int,
        now_ns: int,
    ) -> None:
        """An object is used, resident or not. parent: the block before it in its prefix; depth: how many are; last: it is the last one of its request. number: requests before this one."""

    def inserted(self, object: int, bytes: int) -> None:
        """The object is resident from now on."""

    def removed(self, object: int) -> None:
        """The object is no longer resident."""

    def forget(self, object: int) -> None:
        """The number stands for something else from now on; it is not resident."""

    def begin_victims(self, bytes: int, *, incoming: int | None = None, now_ns: int) -> None:
        """Room is needed: begins a round."""

    def next_victim(self) -> int | None:
        """A resident object, the least worth keeping first, each once a round; None after the last."""

    def admit(self, incoming: int, victim: int) -> bool:
        """Whether the newcomer is worth the victim's place."""

    def hint(
        self,
        kind: Hint,
        objects: Sequence[int],
        *,
        when_ns: int = 0,
        priority: int = 0,
        ttl_ns: int = 0,
        now_ns: int,
    ) -> bool:
        """As Space.hint(); whether the policy has a use for it."""

    def stats(self) -> dict[str, Any]:
        """What the policy says of itself: a dict."""

def version() -> tuple[int, int, int]:
    """Version of the library: (major, minor, patch)."""

def status_name(status: int) -> str:
    """Name of a status, without its prefix."""

def policies() -> list[str]:
    """Names of the placement policies that a runtime or a bank may be given."""
