"""Any GigE Vision or USB3 Vision camera, through the library Aravis.

Bound by ctypes, exactly the calls that are needed, so that no compiler, no PyGObject and no second
Python has to be there: the library itself is one package of the distribution (docs/decisions/0020).
"""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from edge.cameras import Seen
from edge.cameras.triggered import (
    BUFFERS,
    CameraLost,
    Grabbed,
    Preset,
    TriggeredCamera,
    TriggerSettings,
)
from inspection.errors import CameraError, ConfigurationError

_aravis = ctypes.CDLL("libaravis-0.8.so.0")
_gobject = ctypes.CDLL("libgobject-2.0.so.0")
_glib = ctypes.CDLL("libglib-2.0.so.0")


class _GError(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p)]


_ERROR = POINTER(POINTER(_GError))
_NAMES = POINTER(c_char_p)

# Result, arguments; those of `_FALLIBLE` have a GError** as their last one.
_PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (c_char_p, (c_uint,)),
    "arv_get_device_serial_nbr": (c_char_p, (c_uint,)),
    "arv_get_device_vendor": (c_char_p, (c_uint,)),
    "arv_get_device_model": (c_char_p, (c_uint,)),
    "arv_get_device_address": (c_char_p, (c_uint,)),
    "arv_get_device_protocol": (c_char_p, (c_uint,)),
    "arv_camera_get_device": (c_void_p, (c_void_p,)),
    "arv_camera_is_gv_device": (c_int, (c_void_p,)),
    "arv_gv_device_is_controller": (c_int, (c_void_p,)),
    "arv_camera_gv_set_stream_options": (None, (c_void_p, c_int)),
    "arv_buffer_new_allocate": (c_void_p, (c_size_t,)),
    "arv_stream_push_buffer": (None, (c_void_p, c_void_p)),
    "arv_stream_try_pop_buffer": (c_void_p, (c_void_p,)),
    "arv_stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "arv_buffer_get_status": (c_int, (c_void_p,)),
    "arv_buffer_get_frame_id": (c_uint64, (c_void_p,)),
    "arv_buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_image_width": (c_int, (c_void_p,)),
    "arv_buffer_get_image_height": (c_int, (c_void_p,)),
    "arv_buffer_get_image_pixel_format": (ctypes.c_uint32, (c_void_p,)),
    "arv_buffer_get_image_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "arv_buffer_get_image_padding": (None, (c_void_p, POINTER(c_int), POINTER(c_int))),
}
_FALLIBLE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_new": (c_void_p, (c_char_p,)),
    "arv_camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "arv_camera_gv_set_packet_size": (None, (c_void_p, c_int)),
    "arv_camera_get_payload": (c_uint, (c_void_p,)),
    "arv_camera_start_acquisition": (None, (c_void_p,)),
    "arv_camera_stop_acquisition": (None, (c_void_p,)),
    "arv_camera_software_trigger": (None, (c_void_p,)),
    "arv_camera_set_trigger": (None, (c_void_p, c_char_p)),
    "arv_camera_clear_triggers": (None, (c_void_p,)),
    "arv_camera_set_exposure_time": (None, (c_void_p, c_double)),
    "arv_camera_get_exposure_time": (c_double, (c_void_p,)),
    "arv_camera_set_gain": (None, (c_void_p, c_double)),
    "arv_camera_get_gain": (c_double, (c_void_p,)),
    "arv_camera_set_pixel_format_from_string": (None, (c_void_p, c_char_p)),
    "arv_camera_get_pixel_format": (ctypes.c_uint32, (c_void_p,)),
    "arv_camera_dup_available_pixel_formats_as_strings": (_NAMES, (c_void_p, POINTER(c_uint))),
    "arv_camera_dup_available_trigger_sources": (_NAMES, (c_void_p, POINTER(c_uint))),
    "arv_camera_is_feature_available": (c_int, (c_void_p, c_char_p)),
    "arv_camera_set_string": (None, (c_void_p, c_char_p, c_char_p)),
    "arv_camera_set_integer": (None, (c_void_p, c_char_p, ctypes.c_int64)),
    "arv_camera_get_integer": (ctypes.c_int64, (c_void_p, c_char_p)),
    "arv_camera_set_float": (None, (c_void_p, c_char_p, c_double)),
    "arv_camera_set_boolean": (None, (c_void_p, c_char_p, c_int)),
}


def _declare() -> None:
    for table, more in ((_PLAIN, ()), (_FALLIBLE, (_ERROR,))):
        for name, (result, arguments) in table.items():
            function = getattr(_aravis, name)
            function.restype = result
            function.argtypes = (*arguments, *more)
    _gobject.g_object_unref.argtypes = (c_void_p,)
    _gobject.g_object_unref.restype = None
    _glib.g_error_free.argtypes = (c_void_p,)
    _glib.g_free.argtypes = (c_void_p,)


_declare()

PACKET_SOCKET_DISABLED = 1
"""`ArvGvStreamOption`. Where it may open packet sockets (as root), Aravis does; these also hear
what passes on the interface before their filter is in place, and it was seen to be taken for the
beginning of a picture."""

SOCKET_BUFFER_FIXED = 0
"""`ArvGvStreamSocketBuffer`."""
MOST_ROOM = 256 << 20
"""Bytes asked of the kernel for pictures that have arrived; it gives up to net.core.rmem_max."""

BUFFER_FAULTS = {
    1: "the buffer was given back empty",
    2: "packets stopped coming in mid-picture",
    3: "packets of it were lost",
    4: "packets came out of order",
    5: "it is larger than announced",
    6: "it is still being filled",
    7: "the acquisition was ended",
    8: "it carries something else than one picture",
}
"""`ArvBufferStatus`."""


def _set_number(thing: int, name: bytes, value: int) -> None:
    _gobject.g_object_set(c_void_p(thing), c_char_p(name), c_int(value), c_void_p(None))


class _Refused(Exception):
    """What Aravis says in a GError."""


def _call(name: str, *arguments: object) -> Any:
    error = POINTER(_GError)()
    result = getattr(_aravis, name)(*arguments, byref(error))
    if error:
        text = (error.contents.message or b"no reason given").decode(errors="replace")
        _glib.g_error_free(ctypes.cast(error, c_void_p))
        raise _Refused(text[:300])
    return result


def _names(function: str, camera: int) -> list[str]:
    """A list that belongs to us, of strings that do not."""
    count = c_uint()
    found = _call(function, camera, byref(count))
    names = [found[k].decode(errors="replace") for k in range(count.value)] if found else []
    if found:
        _glib.g_free(ctypes.cast(found, c_void_p))
    return names


def found() -> list[Seen]:
    """All cameras Aravis sees; asks the network, which takes about a second."""
    _aravis.arv_update_device_list()

    def text(what: str, index: int) -> str:
        value: bytes | None = getattr(_aravis, f"arv_get_device_{what}")(index)
        return (value or b"").decode(errors="replace")

    return [
        Seen(
            {"device": text("id", k)},
            f"{text('vendor', k)} {text('model', k)} ({text('protocol', k)}) at"
            f" {text('address', k)}",
        )
        for k in range(_aravis.arv_get_n_devices())
    ]


class AravisSettings(TriggerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``aravis``."""

    device: str | None = None
    """Which camera: its id as `inspection cameras list` shows it, or its IP address; None where
    there is only one. By address it is found again sooner: nothing has to be searched."""
    packet_size: Annotated[int, Meta(ge=576, le=16_000)] | None = None
    """Bytes of a packet of GigE Vision, at most what the network takes whole (its MTU)."""


class AravisCamera(TriggeredCamera):
    """Camera ``aravis`` (`edge.cameras.Camera`)."""

    Settings = AravisSettings
    driver = "aravis"

    def __init__(self, settings: AravisSettings) -> None:
        self._settings = settings
        super().__init__(settings)

    def _connect(self) -> _Device:
        return _Device(self._settings)


class _Device:
    """`edge.cameras.triggered.Device`."""

    def __init__(self, settings: AravisSettings) -> None:
        self._format = settings.pixel_format
        self._stream = 0
        name = settings.device or _only_one()
        try:
            self._camera: int = _call("arv_camera_new", name.encode())
        except _Refused as error:
            raise CameraError(
                f"camera aravis cannot open {name}: {error}: check power, cable and IP address, and"
                " that no other program has it (`inspection cameras list` shows what is there)"
            ) from None
        try:
            self._configure(settings)
        except _Refused as error:
            self.close()
            raise CameraError(f"camera aravis cannot be set: {error}") from None
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """With a stream of its own each time: what is still under way to an old one is lost with
        it and can never be taken for a picture of this one."""
        self._end_stream()
        if _aravis.arv_camera_is_gv_device(self._camera):
            _aravis.arv_camera_gv_set_stream_options(self._camera, PACKET_SOCKET_DISABLED)
        try:
            payload = _call("arv_camera_get_payload", self._camera)
            self._stream = _call("arv_camera_create_stream", self._camera, None, None)
            if _aravis.arv_camera_is_gv_device(self._camera):
                room = min(BUFFERS * payload, MOST_ROOM)
                _set_number(self._stream, b"socket-buffer", SOCKET_BUFFER_FIXED)
                _set_number(self._stream, b"socket-buffer-size", room)
            for _ in range(BUFFERS):
                _aravis.arv_stream_push_buffer(
                    self._stream, _aravis.arv_buffer_new_allocate(payload)
                )
            _call("arv_camera_start_acquisition", self._camera)
        except _Refused as error:
            raise CameraLost(str(error)) from None

    def stop(self) -> None:
        self._must("arv_camera_stop_acquisition", self._camera)
        self._end_stream()

    def trigger(self) -> None:
        self._must("arv_camera_software_trigger", self._camera)

    def receive(self, timeout_s: float) -> Grabbed | None:
        if timeout_s > 0:
            buffer = _aravis.arv_stream_timeout_pop_buffer(self._stream, int(timeout_s * 1e6))
        else:
            buffer = _aravis.arv_stream_try_pop_buffer(self._stream)
        if not buffer:
            return None
        try:
            return self._grabbed(buffer)
        finally:
            _aravis.arv_stream_push_buffer(self._stream, buffer)

    def alive(self) -> bool:
        """A camera that had lost its power answers, but is not ours any more."""
        try:
            _call("arv_camera_get_integer", self._camera, b"Width")
        except _Refused:
            return False
        if not _aravis.arv_camera_is_gv_device(self._camera):
            return True
        device = _aravis.arv_camera_get_device(self._camera)
        return bool(_aravis.arv_gv_device_is_controller(device))

    def close(self) -> None:
        camera, self._camera = self._camera, 0
        if not camera:
            return
        if self._stream:
            with contextlib.suppress(_Refused):  # it may be gone already
                _call("arv_camera_stop_acquisition", camera)
            self._end_stream()
        _gobject.g_object_unref(camera)

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, 0
        if stream:
            _gobject.g_object_unref(stream)

    def _must(self, name: str, *arguments: object) -> None:
        try:
            _call(name, *arguments)
        except _Refused as error:
            raise CameraLost(str(error)) from None

    def _grabbed(self, buffer: int) -> Grabbed:
        status = _aravis.arv_buffer_get_status(buffer)
        if status != 0:
            fault = BUFFER_FAULTS.get(status, f"status {status}")
            return Grabbed(np.empty(0, np.uint8), 0, 0, 0, self._format, 0, 0, fault=fault)
        size, right, below = c_size_t(), c_int(), c_int()
        start = _aravis.arv_buffer_get_image_data(buffer, byref(size))
        _aravis.arv_buffer_get_image_padding(buffer, byref(right), byref(below))
        data = np.empty(size.value, np.uint8)
        ctypes.memmove(data.ctypes.data, start, size.value)
        came = int(_aravis.arv_buffer_get_image_pixel_format(buffer))
        return Grabbed(
            data=data,
            width=int(_aravis.arv_buffer_get_image_width(buffer)),
            height=int(_aravis.arv_buffer_get_image_height(buffer)),
            row_padding=right.value,
            pixel_format=self._format if came == self._pixel_format else f"format {came:#x}",
            frame_id=int(_aravis.arv_buffer_get_frame_id(buffer)),
            timestamp=int(_aravis.arv_buffer_get_timestamp(buffer)),
        )

    # ------------------------------------------------------------------------- settings

    def _configure(self, settings: AravisSettings) -> None:
        camera = self._camera
        for automatic in ("ExposureAuto", "GainAuto"):
            if _call("arv_camera_is_feature_available", camera, automatic.encode()):
                self._put(automatic, "Off")
        for name, value in settings.features.items():
            self._put(name, value)
        for name, size in (("Width", settings.width_px), ("Height", settings.height_px)):
            if size is not None:
                self._put(name, size)
        self._set_pixel_format(settings.pixel_format)
        self._set_and_check("exposure_time", settings.exposure_us)
        if settings.gain is not None:
            self._set_and_check("gain", settings.gain)
        self._set_trigger(settings)
        if settings.packet_size is not None:
            if not _aravis.arv_camera_is_gv_device(camera):
                raise ConfigurationError("camera aravis: packet_size is for GigE Vision cameras")
            _call("arv_camera_gv_set_packet_size", camera, settings.packet_size)
        self._pixel_format = int(_call("arv_camera_get_pixel_format", camera))

    def _put(self, name: str, value: str | float) -> None:
        if not _call("arv_camera_is_feature_available", self._camera, name.encode()):
            raise ConfigurationError(f"camera aravis: this camera has no feature {name!r}")
        # A whole number in TOML may well be meant for a feature with a fraction.
        kinds = {bool: ("boolean",), int: ("integer", "float"), float: ("float",)}
        text = ""
        for kind in kinds.get(type(value), ("string",)):
            given: object = value.encode() if isinstance(value, str) else value
            try:
                _call(f"arv_camera_set_{kind}", self._camera, name.encode(), given)
            except _Refused as error:
                text = str(error)
            else:
                text = ""
                break
        if not text and type(value) is int:
            try:
                stored = int(_call("arv_camera_get_integer", self._camera, name.encode()))
            except _Refused:
                stored = value
            if stored != value:
                text = f"it became {stored}"
        if text:
            raise ConfigurationError(
                f"camera aravis: feature {name} cannot be {value!r}: {text}"
            ) from None

    def _set_pixel_format(self, name: str) -> None:
        offered = _names("arv_camera_dup_available_pixel_formats_as_strings", self._camera)
        chosen = next((each for each in (name, f"{name}Packed") if each in offered), None)
        if chosen is None:
            raise ConfigurationError(
                f"camera aravis: it has no pixel_format {name!r}: it has {', '.join(offered)}"
            )
        _call("arv_camera_set_pixel_format_from_string", self._camera, chosen.encode())

    def _set_and_check(self, what: str, value: float) -> None:
        """Cameras round to their own steps, and some cut off at their limits without a word."""
        try:
            _call(f"arv_camera_set_{what}", self._camera, value)
            stored = float(_call(f"arv_camera_get_{what}", self._camera))
        except _Refused as error:
            raise ConfigurationError(f"camera aravis: {what} cannot be {value}: {error}") from None
        if abs(stored - value) > max(0.02 * abs(value), 1.0):
            raise ConfigurationError(
                f"camera aravis: {what} cannot be {value}: the camera made {stored} of it"
            )

    def _set_trigger(self, settings: AravisSettings) -> None:
        if settings.trigger is Preset.FREE_RUN:
            _call("arv_camera_clear_triggers", self._camera)
            return
        sources = _names("arv_camera_dup_available_trigger_sources", self._camera)
        source = "Software"
        if settings.trigger is Preset.HARDWARE_RISING:
            lines = [each for each in sources if each.startswith("Line")]
            source = settings.line or next(iter(lines), "Line1")
        if source not in sources:
            raise ConfigurationError(
                f"camera aravis: it has no trigger source {source!r}: it has {', '.join(sources)}"
            )
        # Clears the other selectors and sets a rising edge, too.
        _call("arv_camera_set_trigger", self._camera, source.encode())


def _only_one() -> str:
    names = [str(each.settings["device"]) for each in found()]
    if len(names) != 1:
        raise CameraError(
            f"camera aravis: {len(names)} cameras are there ({', '.join(names) or 'none'}): connect"
            " one, or say which by its device"
        )
    return names[0]
