"""What CPython finds in some thousands of pickles: random sessions as Python pickles them, and damaged.

One line for each, see `line`. Nothing from outside is read, and no class but harmless ones is ever
found. For a longer search, name another seed as the argument.
"""

import _codecs
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import io
import pickle
import pickletools
import random
import resource
import struct
import sys

SEED = 20260101
SESSIONS = 450
MUTANTS = 2


@dataclasses.dataclass
class Point:
    x: object
    y: object


@dataclasses.dataclass(frozen=True)
class Tag:
    name: object


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __getstate__(self):
        return None, {"a": self.a, "b": self.b}


class State:
    def __init__(self, state):
        self.state = state

    def __getstate__(self):
        return [self.state]

    def __setstate__(self, state):
        self.state = state


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


Pair = collections.namedtuple("Pair", "left right")
Name, Items, Settings = type("Name", (str,), {}), type("Items", (list,), {}), type("Settings", (dict,), {})

OWN = [Point, Tag, Slots, State, Name, Items, Settings, Colour, Level, Pair]
BUILTINS = [set, frozenset, bytearray, bytes, complex, list, dict, tuple, object, int, str, ValueError]
THEIRS = [
    collections.OrderedDict, collections.defaultdict, collections.deque, collections.Counter,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
    decimal.Decimal, copyreg._reconstructor, _codecs.encode,
]  # fmt: skip
CLASSES = {(found.__module__, found.__name__): found for found in OWN + BUILTINS + THEIRS}
# As the old protocols call them.
CLASSES.update({("__builtin__", found.__name__): found for found in BUILTINS})
CLASSES.update({("__builtin__", "unicode"): str, ("__builtin__", "long"): int})
CLASSES.update({("exceptions", "ValueError"): ValueError, ("copy_reg", "_reconstructor"): copyreg._reconstructor})


class NoSuchClass(pickle.UnpicklingError):
    pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return CLASSES[module, name]
        except KeyError:
            raise NoSuchClass(f"{module}.{name}") from None


class Opaque(type):
    """Takes everything and has nothing."""

    append = extend = add = __setitem__ = __setstate__ = lambda self, *_: None

    def __call__(self, *_, **__):
        return OPAQUE


class OPAQUE(metaclass=Opaque):
    def __new__(cls, *_, **__):
        return OPAQUE


class OpaqueUnpickler(pickle.Unpickler):
    """Any class, any function and whatever they make is the same object without content."""

    def find_class(self, module, name):
        return OPAQUE


class Python2Pickler(pickle._Pickler):
    """`bytes` are written as Python 2 writes its `str`."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_str(self, value):
        if not self.bin:
            self.write(b"S" + repr(value)[1:].encode() + b"\n")
        elif len(value) < 256:
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_str


def python2_dumps(value, protocol):
    file = io.BytesIO()
    Python2Pickler(file, protocol).dump(value)
    return file.getvalue()


class Maker:
    """Random objects; some of them the same object again."""

    def __init__(self, rng):
        self.rng = rng
        self.made = []

    def text(self):
        letters = self.rng.choice(["abc", "user.id_", "áé€ß", "😀𐍈a", "\\u\"'\n\r\t\0\x1a ", "0123456789"])
        long = self.rng.random() < 0.02
        return "".join(self.rng.choices(letters, k=self.rng.randrange(300 if long else 12)))

    def bytes(self):
        if self.rng.random() < 0.5:
            return self.text().encode()
        return self.rng.randbytes(self.rng.randrange(300 if self.rng.random() < 0.02 else 12))

    def int(self):
        bits = self.rng.choice([1, 7, 8, 15, 16, 31, 32, 63, 64, 126, 127, 128, 200, 2100])
        near = self.rng.choice([0, 0, -1, 1, self.rng.randrange(100), self.rng.getrandbits(bits)])
        return self.rng.choice([1, -1]) * ((1 << bits) + near) if bits > 1 else near

    def float(self):
        return self.rng.choice([0.0, -0.0, 1.5, 1e300, 5e-324, float("inf"), -1767225600.25])

    def hashable(self, depth=2):
        """Not None, nor no number: their hashes, and with them the order of sets, change with each run."""
        rng = self.rng
        makers = [
            self.text,
            self.text,
            self.bytes,
            self.int,
            self.float,
            lambda: rng.choice([True, False, (), b"", "", frozenset()]),
            lambda: datetime.datetime(2026, 1, rng.randrange(1, 28), tzinfo=datetime.timezone.utc),
            lambda: datetime.date(2026, 1, rng.randrange(1, 28)),
            lambda: datetime.timedelta(rng.randrange(100), 5),
            lambda: decimal.Decimal(rng.randrange(10**6)) / 100,
            lambda: rng.choice([Colour.RED, Level.HIGH]),
            lambda: Name(self.text()),
            lambda: complex(1, 2),
        ]
        if depth:
            below = lambda: self.hashable(depth - 1)
            makers += [
                lambda: tuple(below() for _ in range(rng.randrange(5))),
                lambda: frozenset(below() for _ in range(rng.randrange(4))),
                lambda: Tag(below()),
                lambda: Pair(below(), below()),
            ]
        return rng.choice(makers)()

    def anything(self, depth=3):
        rng = self.rng
        if self.made and rng.random() < 0.2:
            return rng.choice(self.made)
        if not depth or rng.random() < 0.4:
            made = rng.choice([None, float("nan"), *(self.hashable() for _ in range(8))])
        else:
            made = self.container(depth)
        self.made.append(made)
        return made

    def container(self, depth):
        rng = self.rng
        below = lambda: self.anything(depth - 1)
        some = lambda make: [make() for _ in range(rng.choice([0, 1, 1, 2, 3, 4, 9]))]
        pairs = lambda: some(lambda: (self.hashable(), below()))
        made = rng.choice([
            lambda: some(below),
            lambda: tuple(some(below)),
            lambda: dict(pairs()),
            lambda: dict(pairs()),
            lambda: set(some(self.hashable)),
            lambda: bytearray(self.bytes()),
            lambda: collections.OrderedDict(pairs()),
            lambda: collections.defaultdict(rng.choice([list, int, None]), pairs()),
            lambda: collections.deque(some(below), rng.choice([None, 3])),
            lambda: collections.Counter(some(self.text)),
            lambda: Point(below(), below()),
            lambda: Slots(below(), below()),
            lambda: State(below()),
            lambda: Items(some(below)),
            lambda: Settings(pairs()),
            lambda: ValueError(below()),
        ])()
        if rng.random() < 0.1:
            # What contains itself.
            if type(made) in (list, Items, collections.deque):
                made.append(rng.choice([made, (made, 1), {"self": made}]))
            elif isinstance(made, dict) and not isinstance(made, collections.Counter):
                made["self"] = rng.choice([made, [made], (made,)])
            elif type(made) is Point:
                made.x = made
        return made

    def user(self):
        some = [77, self.rng.randrange(1 << 31), self.int(), "77", self.text(), self.text(), self.bytes()]
        return self.anything() if self.rng.random() < 0.2 else self.rng.choice(some)

    def session(self):
        """A session, and the path to its user."""
        rng = self.rng
        paths = [["_auth_user_id"], ["repoze.who.tkt", "user.id"], ["a", "b", "c"], ["usér", "😀"], ["user"]]
        path = rng.choice(paths)
        value = self.user()
        for step in reversed(path):
            key = step.encode() if rng.random() < 0.1 else step
            pairs = [(self.hashable(), self.anything()) for _ in range(rng.randrange(6))]
            if rng.random() < 0.95:
                pairs.append((key, value))
            if rng.random() < 0.05:
                pairs.append((step if type(key) is bytes else step.encode(), self.user()))
            if rng.random() < 0.02:
                pairs.append(("surrogate", "\ud83d" + self.text()))
            rng.shuffle(pairs)
            kinds = [dict] * 40 + [collections.OrderedDict, Settings, lambda pairs: Point(pairs, 0), list]
            value = rng.choice(kinds)(pairs)
            if rng.random() < 0.1 and isinstance(value, dict):
                value["itself"] = value
            self.made.append(value)
        return value, path


def find(value, path):
    """What is at the path. Python 2 has one kind of string for keys, so bytes will do."""
    for step in path:
        key = next((key for key in (step, step.encode()) if isinstance(value, dict) and key in value), None)
        if key is None:
            return "nothing", b""
        if not any(type(one) is type(key) and one == key for one in value):
            return "keyed by a class", b""
        value = value[key]
    if type(value) is int and -(1 << 127) <= value < 1 << 127:
        return "int", str(value).encode()
    if type(value) is str:
        return "text", value.encode("utf-8", "surrogatepass")
    return ("bytes", value) if type(value) is bytes else ("other", b"")


class Whole(io.BytesIO):
    """Is read as `pickle.loads` reads: all there is, whatever frames say."""

    def read(self, _):
        return super().read()


def load(unpickler, data, path):
    try:
        return find(unpickler(Whole(data), encoding="bytes").load(), path)
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}".encode("utf-8", "replace")


def ends_early(data):
    """Whether something follows the end."""
    file = io.BytesIO(data)
    try:
        for _ in pickletools.genops(file):
            pass
    except ValueError:
        # It is stricter than the unpickler, which for its part would read a frame ahead.
        file = io.BytesIO(data)
        OpaqueUnpickler(file, encoding="bytes").load()
    return file.tell() < len(data)


def mutant(rng, data, ops, other):
    """Damaged anywhere, or instruction by instruction, so that more of it still makes some sense."""
    at = lambda: rng.randrange(len(data))
    op = lambda: rng.choice(ops)
    how = rng.randrange(12)
    start = at()
    if how == 0:
        return data[:start]
    if how == 1:
        return data[:start] + bytes([data[start] ^ 1 << rng.randrange(8)]) + data[start + 1 :]
    if how == 2:
        return data[:start] + rng.randbytes(1) + data[start + 1 :]
    if how == 3:
        return data[:start] + data[start + rng.randrange(1, 9) :]
    if how == 4:
        to = at()
        return data[:to] + data[start : start + rng.randrange(1, 20)] + data[to:]
    if how == 5:
        return data[:start] + other[rng.randrange(len(other)) :]
    ops = list(ops)
    start = rng.randrange(len(ops))
    if how == 6:
        ops[start:start] = [rng.choice(OPCODES) for _ in range(rng.randrange(1, 4))]
    elif how == 7:
        ops[start:start] = [rng.choice([b"N0", b"(1", b"20", b"(0", b"K\x05", b"2", b"0", b"\x94", b"h\x01"])]
    elif how == 8:
        del ops[start]
    elif how == 9:
        ops.insert(start, rng.choice(ops))
    elif how == 10:
        to = rng.randrange(len(ops))
        ops[start], ops[to] = ops[to], ops[start]
    else:
        ops[start] = rng.choice(ops)
    return b"".join(ops)


def split(data):
    """The instructions of a pickle."""
    try:
        starts = [start for _, _, start in pickletools.genops(data)]
    except UnicodeDecodeError:
        # Of Python 2's strings, it only knows ASCII ones.
        starts = list(range(len(data)))
    return [data[start:end] for start, end in zip(starts, starts[1:] + [len(data)])]


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


def line(how, data, path, before=None):
    """How it was made; the pickle; the path; whether something follows its end; and what there is at
    the path: to CPython, to CPython without classes, and to CPython before the damage.
    """
    real = load(Unpickler, data, path)
    opaque = load(OpaqueUnpickler, data, path)
    more = before and opaque[0] != "error" and ends_early(data)
    steps = ",".join(step.encode().hex() for step in path)
    found = [field for kind, value in (real, opaque, before or real) for field in (kind, value.hex())]
    print(how, data.hex(), steps, "more" if more else "all", *found, sep="\t")
    return real


def main():
    # A damaged pickle may claim to need much.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else SEED)
    made = []
    for _ in range(SESSIONS):
        session, path = Maker(rng).session()
        for protocol in range(6):
            try:
                pickles = {"c": pickle.dumps(session, protocol), "python": pickle._dumps(session, protocol)}
            except RecursionError:
                # The old protocols cannot say that an object of a class contains itself.
                continue
            pickles["optimized"] = pickletools.optimize(pickles["c"])
            if protocol < 3:
                pickles["python2"] = python2_dumps(session, protocol)
            made += [(how, data, path, line(how, data, path)) for how, data in pickles.items()]
    # Only now, since a damaged pickle can damage the classes here.
    for how, data, path, found in made:
        if how != "python":
            ops = split(data)
            for _ in range(MUTANTS):
                damaged = mutant(rng, data, ops, rng.choice(made)[1])
                line("damaged", damaged, path, found)


if __name__ == "__main__":
    main()
