"""Basler cameras through pypylon, and pylon's own camera emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from pypylon import genicam, pylon

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

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
GAIN = ("Gain", "GainRaw")
"""The newer name and the one of older GigE cameras."""
READY_MS = 1000


class BaslerSettings(TriggerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``basler``."""

    serial: str | None = None
    """Which camera; None where there is only one."""


class BaslerCamera(TriggeredCamera):
    """Camera ``basler`` (`edge.cameras.Camera`)."""

    Settings: type[BaslerSettings] = BaslerSettings
    driver = "basler"

    def __init__(self, settings: BaslerSettings) -> None:
        self._settings = settings
        super().__init__(settings)

    def _connect(self) -> _Device:
        return _Device(self._settings)


def found() -> list[Seen]:
    """All cameras pylon sees."""
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    return [
        Seen({"serial": str(each.GetSerialNumber())}, str(each.GetFriendlyName()))
        for each in devices
    ]


class _Device:
    """`edge.cameras.triggered.Device`."""

    def __init__(self, settings: BaslerSettings) -> None:
        self._format = settings.pixel_format
        try:
            self._camera = pylon.InstantCamera(
                pylon.TlFactory.GetInstance().CreateDevice(_look_for(settings.serial))
            )
            self._camera.Open()
        except genicam.GenericException as error:
            raise CameraError(f"camera basler cannot be opened: {_text(error)}") from None
        try:
            self._configure(settings)
        except BaseException:
            self.close()
            raise
        self._asks_ready = bool(self._camera.CanWaitForFrameTriggerReady())

    def start(self) -> None:
        with _LostWhereItFails():
            self._camera.StartGrabbing(pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        with _LostWhereItFails():
            self._camera.StopGrabbing()

    def trigger(self) -> None:
        with _LostWhereItFails():
            if self._asks_ready and not self._camera.WaitForFrameTriggerReady(
                READY_MS, pylon.TimeoutHandling_Return
            ):
                raise CameraError(f"not ready for a trigger within {READY_MS} ms")
            self._camera.ExecuteSoftwareTrigger()

    def receive(self, timeout_s: float) -> Grabbed | None:
        with _LostWhereItFails():
            result = self._camera.RetrieveResult(
                int(timeout_s * 1000), pylon.TimeoutHandling_Return
            )
            if not result.IsValid():
                if self._camera.IsCameraDeviceRemoved():
                    raise CameraLost("it was unplugged")
                return None
            try:
                return self._grabbed(result)
            finally:
                result.Release()

    def alive(self) -> bool:
        try:
            return bool(self._camera.IsOpen() and not self._camera.IsCameraDeviceRemoved())
        except genicam.GenericException:
            return False

    def put(self, name: str, value: str | float) -> None:
        """Set a feature of the open camera by its name."""
        with _LostWhereItFails():
            _put(self._camera.GetNodeMap(), name, value)

    def close(self) -> None:
        try:
            self._camera.Close()
            self._camera.DestroyDevice()
        except genicam.GenericException:
            pass  # it is gone already

    def _grabbed(self, result: Any) -> Grabbed:
        if not result.GrabSucceeded():
            text = result.GetErrorDescription() or f"error {result.GetErrorCode():#x}"
            return Grabbed(np.empty(0, np.uint8), 0, 0, 0, self._format, 0, 0, fault=str(text))
        # The id of a camera that has none is all ones; pylon's own number still tells what the
        # host lost.
        block_id = int(result.GetBlockID())
        number = int(result.GetImageNumber()) if block_id == 2**64 - 1 else block_id
        came = int(result.GetPixelType())
        return Grabbed(
            data=np.frombuffer(result.GetBuffer(), np.uint8),
            width=int(result.GetWidth()),
            height=int(result.GetHeight()),
            row_padding=int(result.GetPaddingX()),
            pixel_format=self._format if came == self._pixel_type else f"pixel type {came:#x}",
            frame_id=number,
            timestamp=int(result.GetTimeStamp()),
        )

    # ------------------------------------------------------------------------- settings

    def _configure(self, settings: BaslerSettings) -> None:
        """From a known start, so that the same settings always make the same camera."""
        try:
            nodes = self._camera.GetNodeMap()
            if _is_writable(nodes, "UserSetSelector"):
                _put(nodes, "UserSetSelector", "Default")
                nodes.GetNode("UserSetLoad").Execute()
            for automatic in ("ExposureAuto", "GainAuto"):
                if _is_writable(nodes, automatic):
                    _put(nodes, automatic, "Off")
            for name, value in settings.features.items():
                _put(nodes, name, value)
            if settings.width_px is not None:
                _put(nodes, "Width", settings.width_px)
            if settings.height_px is not None:
                _put(nodes, "Height", settings.height_px)
            self._set_pixel_format(nodes, settings.pixel_format)
            _put(nodes, _known(nodes, EXPOSURE), settings.exposure_us)
            if settings.gain is not None:
                _put(nodes, _known(nodes, GAIN), settings.gain)
            self._set_trigger(nodes, settings)
            self._camera.MaxNumBuffer.SetValue(BUFFERS)
            self._pixel_type = int(nodes.GetNode("PixelFormat").GetIntValue())
        except genicam.GenericException as error:
            raise CameraError(f"camera basler cannot be set: {_text(error)}") from None

    def _set_pixel_format(self, nodes: Any, name: str) -> None:
        """Cameras of GigE Vision 1.x call RGB8 ``RGB8Packed``."""
        offered = tuple(nodes.GetNode("PixelFormat").Symbolics)
        chosen = next((each for each in (name, f"{name}Packed") if each in offered), None)
        if chosen is None:
            raise ConfigurationError(
                f"camera basler: it has no pixel_format {name!r}: it has {', '.join(offered)}"
            )
        _put(nodes, "PixelFormat", chosen)

    def _set_trigger(self, nodes: Any, settings: BaslerSettings) -> None:
        for selector in nodes.GetNode("TriggerSelector").Symbolics:
            _put(nodes, "TriggerSelector", selector)
            _put(nodes, "TriggerMode", "Off")
        if settings.trigger is Preset.FREE_RUN:
            return
        _put(nodes, "TriggerSelector", "FrameStart")
        if settings.trigger is Preset.SOFTWARE:
            _put(nodes, "TriggerSource", "Software")
        else:
            _put(nodes, "TriggerSource", settings.line or "Line1")
            _put(nodes, "TriggerActivation", "RisingEdge")
        _put(nodes, "TriggerMode", "On")


class _LostWhereItFails:
    """Whatever pylon raises while the camera works: it has to be opened again."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, genicam.GenericException):
            raise CameraLost(_text(error)) from None


def _look_for(serial: str | None) -> Any:
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    here = ", ".join(str(each.GetSerialNumber()) for each in devices) or "none"
    if serial is None:
        if len(devices) != 1:
            raise CameraError(
                f"camera basler: pylon sees {len(devices)} cameras ({here}): connect one, or say"
                " which by its serial"
            )
        return devices[0]
    for each in devices:
        if each.GetSerialNumber() == serial:
            return each
    raise CameraError(
        f"camera basler: pylon sees no camera with serial {serial} (it sees {here}): check power,"
        " cable and, for GigE, the IP address, and that no other program has it"
    )


def _known(nodes: Any, names: tuple[str, ...]) -> str:
    return next((name for name in names if _is_writable(nodes, name)), names[0])


def _is_writable(nodes: Any, name: str) -> bool:
    return bool(genicam.IsWritable(nodes.GetNode(name)))


def _put(nodes: Any, name: str, value: str | float) -> None:
    node = nodes.GetNode(name)
    if not genicam.IsImplemented(node):
        raise ConfigurationError(f"camera basler: this camera has no feature {name!r}")
    try:
        if isinstance(node, genicam.IInteger):
            node.SetValue(int(value))
        elif isinstance(node, genicam.IFloat):
            node.SetValue(float(value))
        elif isinstance(node, genicam.IBoolean):
            node.SetValue(bool(value))
        elif isinstance(node, genicam.ICommand):
            node.Execute()
        else:
            node.FromString(str(value))
    except (genicam.GenericException, ValueError) as error:
        raise ConfigurationError(
            f"camera basler: feature {name} cannot be {value!r}: {_text(error)}"
        ) from None


def _text(error: Exception) -> str:
    """What the SDK says, without the place in its source."""
    return str(error).partition(" : ")[0][:300]
