"""The data sets that rung knows by name: what their classes are called and where their files are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """A file on the network. ``urls`` are tried in their order; ``digest`` is its checksum by ``algorithm``."""

    file: str
    urls: tuple[str, ...]
    digest: str
    algorithm: str = "md5"


@dataclass(frozen=True)
class KnownData:
    """A named data set. ``classes`` name its labels where its files do not; ``downloads`` are all its files."""

    title: str
    classes: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()


def _cifar(file: str, md5: str) -> tuple[Download, ...]:
    return (Download(file, (f"https://www.cs.toronto.edu/~kriz/{file}",), md5),)


def _idx(hosts: tuple[str, ...], *md5s: str) -> tuple[Download, ...]:
    files = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        Download(f"{file}-ubyte.gz", tuple(f"{host}/{file}-ubyte.gz" for host in hosts), md5)
        for file, md5 in zip(files, md5s, strict=True)
    )


KNOWN = {
    "digits": KnownData("scikit-learn's digits", tuple("0123456789")),
    "cifar10": KnownData(
        "CIFAR-10",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        _cifar("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    ),
    "cifar100": KnownData("CIFAR-100", (), _cifar("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")),
    "mnist": KnownData(
        "MNIST",
        tuple("0123456789"),
        _idx(
            (
                "https://storage.googleapis.com/cvdf-datasets/mnist",
                "https://ossci-datasets.s3.amazonaws.com/mnist",
            ),
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion-mnist": KnownData(
        "Fashion-MNIST",
        (
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        _idx(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
}

# Folders unpacked by other tools carry these names.
_ALIASES = {
    "cifar-10": "cifar10",
    "cifar-100": "cifar100",
    "fashionmnist": "fashion-mnist",
    "fmnist": "fashion-mnist",
    "cifar-10-batches-bin": "cifar10",
    "cifar-10-batches-py": "cifar10",
}


def canonical(name: str) -> str | None:
    """The key in :data:`KNOWN` for a name as people write it, or None."""
    key = name.lower().replace("_", "-")
    key = _ALIASES.get(key, key)
    return key if key in KNOWN else None
