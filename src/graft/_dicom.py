"""DICOM pixels to eight bits: the file's own rescaling and window, and nothing of the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from graft._formats import BadPicture
from graft.errors import need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Only these are read, so that no name, date or number of a patient is ever decoded or could reach a message.
_TAGS = (
    "BitsAllocated", "BitsStored", "Columns", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "HighBit",
    "ModalityLUTSequence", "NumberOfFrames", "PhotometricInterpretation", "PixelData", "PixelRepresentation",
    "PlanarConfiguration", "RescaleIntercept", "RescaleSlope", "Rows", "SamplesPerPixel", "VOILUTFunction",
    "VOILUTSequence", "WindowCenter", "WindowWidth", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
)  # fmt: skip
_PLUGINS = {
    "JPEG-LS": "pylibjpeg pylibjpeg-libjpeg",
    "JPEG Lossless": "pylibjpeg pylibjpeg-libjpeg",
    "JPEG Extended": "pylibjpeg pylibjpeg-libjpeg",
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
}


@dataclass(frozen=True)
class Header:
    """What a DICOM file says about its pixels; `syntax` is how they are packed, `frames` is at least 1."""

    dataset: Any
    syntax: Any
    width: int
    height: int
    frames: int


def header(file: BinaryIO) -> Header:
    """Read the tags that concern pixels.

    Raises BadPicture where the file is damaged or holds no picture, SetupError where pydicom is not installed.
    """
    pydicom = need("pydicom", "dicom")
    try:
        data = pydicom.dcmread(file, specific_tags=list(_TAGS))
        if "PixelData" not in data:
            raise BadPicture("is DICOM without pixels")
        frames = max(1, int(data.get("NumberOfFrames") or 1))
        return Header(data, data.file_meta.TransferSyntaxUID, int(data.Columns), int(data.Rows), frames)
    except BadPicture:
        raise
    except Exception as e:  # a parser of a whole zoo of files; its own words may quote the file, so they are left out
        raise BadPicture(f"damaged DICOM header ({type(e).__name__})") from None


def pixels(found: Header, frame: int = 0) -> tuple[Image.Image, str]:
    """(an L or RGB picture of one frame, note): rescaled, windowed, MONOCHROME1 inverted (PS3.3 C.7.6.3, C.11).

    Grey levels come from the file's first window or VOI table; without one from the whole range that its stored
    bits can express, which is the same for every picture of one make.
    Raises BadPicture where the frame cannot be decompressed, naming the package that could.
    """
    from pydicom.pixels.decoders.base import get_decoder

    data = found.dataset
    try:
        array, meta = get_decoder(found.syntax).as_array(data, index=frame)  # YBR becomes RGB here
    except Exception as e:
        raise BadPicture(_undecoded(str(found.syntax.name), e)) from None
    try:
        return _eight_bit(data, array, str(meta["photometric_interpretation"]))
    except Exception as e:
        raise BadPicture(f"damaged DICOM pixels or tags ({type(e).__name__})") from None


def _undecoded(name: str, error: Exception) -> str:
    said = str(error).lower()
    if isinstance(error, NotImplementedError) or "missing dependencies" in said or "no decoders" in said:
        package = next((p for start, p in _PLUGINS.items() if name.startswith(start)), "pylibjpeg[all]")
        return f"{name} pixels: pip install {package}, or decompress the files"
    return f"damaged DICOM pixels ({type(error).__name__})"


def _eight_bit(data: Any, array: NDArray[Any], photometric: str) -> tuple[Image.Image, str]:
    import numpy as np
    from pydicom.pixels.processing import apply_color_lut

    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, data)
        return Image.fromarray(_scaled(array, 0, np.iinfo(array.dtype).max)), ""
    if array.ndim == 3:
        return Image.fromarray(_scaled(array, 0, 2 ** int(data.BitsStored) - 1)), ""
    grey, note = _grey(data, array)
    return Image.fromarray(255 - grey if photometric == "MONOCHROME1" else grey), note


def _grey(data: Any, array: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Modality values (Hounsfield units, say) through the window, uint8 [height, width]."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

    values = apply_modality_lut(array, data)
    low, high = _range(data)
    if "WindowCenter" in data and "WindowWidth" in data:
        return _scaled(apply_windowing(values, data), low, high), ""
    if data.get("VOILUTSequence"):
        top = 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return _scaled(apply_voi(values.astype("int64"), data), 0, top), ""
    return _scaled(values, min(low, high), max(low, high)), "DICOM without a window, scaled by its stored bits"


def _range(data: Any) -> tuple[float, float]:
    """What the lowest and the highest stored value mean after rescaling; `apply_windowing` answers between them."""
    if data.get("ModalityLUTSequence"):
        low, high = 0, 2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        bits = int(data.BitsStored)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    if slope is None or intercept is None:
        return low, high
    return low * float(slope) + float(intercept), high * float(slope) + float(intercept)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    import numpy as np

    if (low, high) == (0, 255) and values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
