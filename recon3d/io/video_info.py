"""What is known of a video; apart from its reader, which loads FFmpeg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header and first frame say.

    Attributes
    ----------
    width, height : int
        Size of the frames as `VideoReader.image` gives them: upright, with square pixels.
    duration : float or None
        Seconds.
    frame_rate : float or None
        Mean frames per second.
    rotation : int
        Degrees counter-clockwise that the stored frames are turned by to be upright.
    codec : str
        FFmpeg's name of the codec.
    hdr : bool
        Whether the brightness is coded for HDR displays (HLG or PQ).
    interlaced : bool
        Whether its frames hold two moments in alternate lines; `VideoReader.frames` deinterlaces them.
    stream : str
        The video stream that is read: its number, size and codec.
    other_streams : tuple of str
        Video streams that are not read.
    choice : str
        Why that stream is read, as the beginning of a sentence about it.
    """

    width: int
    height: int
    duration: float | None
    frame_rate: float | None
    rotation: int
    codec: str
    hdr: bool
    interlaced: bool = False
    stream: str = ""
    other_streams: tuple[str, ...] = ()
    choice: str = ""

    @property
    def streams_note(self) -> str:
        """Which of several video streams is read, to follow the file's name; empty for a single one."""
        if not self.other_streams:
            return ""
        left = f"{', '.join(self.other_streams)} {'was' if len(self.other_streams) == 1 else 'were'} not"
        return f"holds {1 + len(self.other_streams)} videos. {self.choice}, {self.stream}, was used; {left}."

    def size(self, max_size: int = 0) -> tuple[int, int]:
        """Compute the size of a reduced image.

        Parameters
        ----------
        max_size : int
            Longest side in pixels; 0 means any.

        Returns
        -------
        (int, int)
            Width and height.
        """
        scale = min(1.0, max_size / max(self.width, self.height)) if max_size else 1.0
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))
