"""Everything this project raises on purpose.

LnclipError
|-- ConfigError     a setting, an index or a command line that cannot work
|-- SetupError      something is missing on this machine
|-- SpecError       a preprocessing spec is malformed, or two stages hold different ones
|-- ArtifactError   weights or a model.json are missing, damaged or of another shape
|-- ImageError      one input cannot be read as an image
|-- EngineError     an engine answered what no model can mean (NaN)
|-- ParityError     an exported graph disagrees with the reference beyond tolerance
|-- PublishError    a candidate cannot go into the repository
|   `-- WithdrawnError  it was there, but the running server could not answer with it
`-- ServerError     Triton does not run, refused, timed out, or does not have the model
"""


class LnclipError(Exception):
    """Base class: the CLI prints these as one line; anything else is a bug."""


class ConfigError(LnclipError):
    """A setting, an index or a command line that cannot work."""


class SetupError(LnclipError):
    """Something is missing on this machine; the message says how to get it."""


class SpecError(LnclipError):
    """A preprocessing spec is malformed, or two stages hold different ones."""


class ArtifactError(LnclipError):
    """Weights or a model.json are missing, damaged or of another shape."""


class ImageError(LnclipError):
    """One input cannot be read as an image.

    ``str()`` gives ``code: reason``; the served error carries exactly that, so a client can
    read the code back.
    """

    def __init__(self, code: str, reason: str) -> None:
        """``code`` is one lower-case word with underscores, ``reason`` says what to do."""
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class EngineError(LnclipError):
    """An engine answered what no model can mean (NaN)."""


class ParityError(LnclipError):
    """An exported graph disagrees with the reference beyond tolerance."""


class PublishError(LnclipError):
    """A candidate cannot go into the repository."""


class WithdrawnError(PublishError):
    """A version was published, but the running server could not answer with it: it was taken away again."""


class ServerError(LnclipError):
    """Triton does not run, refused, timed out, or does not have the model."""
