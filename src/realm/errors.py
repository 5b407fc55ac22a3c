"""Every error that Realm raises on purpose, as one tree.

RealmError
├── ConfigError                 an option, a limit or a configuration is not usable
├── NotSupportedError           asked for something that this version cannot do
├── GGUFError                   a GGUF file is wrong (realm.gguf)
│   ├── GGUFOpenError           the path cannot be opened or mapped, or was closed
│   ├── GGUFMagicError          not a GGUF file
│   ├── GGUFVersionError        a version that is not 2 or 3
│   ├── GGUFTruncatedError      the file ends before what it announces
│   ├── GGUFCountError          a count or a length cannot be true
│   ├── GGUFMetadataError       a metadata key or value is malformed, missing or of the wrong type
│   ├── GGUFTensorError         a tensor's name, shape or block type is not usable
│   └── GGUFLayoutError         a tensor's data is misaligned, out of the file, or overlaps another
├── ModelError                  a readable GGUF is not a model that can run (realm.model)
│   ├── ArchitectureError       an architecture or hyperparameter that is unknown or inconsistent
│   ├── MissingTensorError      a tensor that the architecture needs is not there
│   ├── TensorShapeError        a tensor has another shape than the hyperparameters say
│   ├── DraftMismatchError      a draft model does not fit its target
│   └── ModelNotFoundError      no model of this name or handle
├── AdapterError                an adapter cannot be loaded, found or used (realm.lora)
│   ├── AdapterOpenError        a path cannot be read, or leads out of the adapter's folder
│   ├── AdapterFormatError      a file is malformed, cut, or says things that cannot be true
│   ├── AdapterMismatchError    an adapter of another base: names, shapes, layers
│   ├── AdapterKindError        a kind of adapter that is not offered (DoRA, biases, ...)
│   ├── AdapterNotFoundError    no adapter of this name or version
│   └── AdapterCapacityError    more than the memory for adapters can ever hold
├── TokenizerError              a vocabulary cannot be used, or text or ids do not fit it
├── ChatTemplateError           a chat template is missing, malformed, or refuses the messages
├── RequestError                a request cannot be served as it stands
│   ├── ContextLengthError      more tokens than the context holds
│   ├── CapacityError           not enough cache pages, now or ever
│   ├── ConstraintError         a schema, regex or grammar is not usable, or leaves no token
│   ├── ProgramNotFoundError    the tenant has no program of this name
│   ├── FieldError              a field of a request is missing or not usable
│   ├── CancelledError          the request was cancelled
│   └── HostError               the host itself failed on it; its log says more
├── GuestError                  a tenant's program failed (realm.runtime)
│   ├── GuestCompileError       not a WASM module that can be compiled
│   ├── GuestContractError      imports or exports that do not fit the contract
│   ├── GuestTrapError          the program trapped
│   ├── GuestLimitError         the program reached a limit: memory, stack, compute, wall time
│   ├── ToolError               a tool that a program called refuses, in words meant for it
│   └── StateStoreError         what tenants keep cannot be read or written
├── CatalogError                a model cannot be found, fetched or verified (realm.catalog)
│   └── IntegrityError          fetched bytes are not the expected ones
├── ServerError                 the server cannot do what it was asked (realm.server)
│   ├── UnauthorizedError       no key, or one that does not open anything
│   ├── RateLimitError          more than the tenant may ask for now
│   ├── EngineUnavailableError  the engine process is starting, draining, or was lost
│   ├── TenantStoreError        tenants and keys cannot be read or written
│   ├── PipelineError           a pipeline's definition cannot be used
│   │   ├── PipelineNotFoundError no pipeline of this id
│   │   ├── PipelineInputError  what a pipeline was given is not what it takes
│   │   └── PipelineStepError   a step of a pipeline has failed
│   └── WireError               front and engine do not understand each other
└── NativeError                 the native core refused its arguments
"""


class RealmError(Exception):
    """The ancestor of every error that Realm raises on purpose."""


class ConfigError(RealmError):
    """An option, a limit or a configuration is not usable."""


class NotSupportedError(RealmError):
    """Asked for something that this version cannot do."""


class GGUFError(RealmError):
    """A GGUF file is wrong; the message says where."""


class GGUFOpenError(GGUFError):
    """The path is not a file that can be opened and mapped, or it was closed."""


class GGUFMagicError(GGUFError):
    """The file does not begin with the GGUF magic."""


class GGUFVersionError(GGUFError):
    """The file's version is not one that can be read (2 and 3 can)."""


class GGUFTruncatedError(GGUFError):
    """The file ends before what it announces."""


class GGUFCountError(GGUFError):
    """A count or a length in the file cannot be true."""


class GGUFMetadataError(GGUFError):
    """A metadata key or value is malformed, missing or of the wrong type."""


class GGUFTensorError(GGUFError):
    """A tensor's name, shape or block type is not usable."""


class GGUFLayoutError(GGUFError):
    """A tensor's data is misaligned, out of the file, or overlaps another's."""


class ModelError(RealmError):
    """A readable GGUF is not a model that can run."""


class ArchitectureError(ModelError):
    """An architecture or a hyperparameter is unknown or inconsistent."""


class MissingTensorError(ModelError):
    """A tensor that the architecture needs is not in the file."""


class TensorShapeError(ModelError):
    """A tensor has another shape than the hyperparameters say."""


class DraftMismatchError(ModelError):
    """A draft model does not fit the model that it is to draft for."""


class ModelNotFoundError(ModelError):
    """No model of this name or handle."""


class AdapterError(RealmError):
    """An adapter cannot be loaded, found or used; the message names the tensor or the key."""


class AdapterOpenError(AdapterError):
    """A path is no adapter, cannot be read, or leads out of the adapter's folder."""


class AdapterFormatError(AdapterError):
    """A file of an adapter is malformed, cut, or says things that cannot be true."""


class AdapterMismatchError(AdapterError):
    """The adapter was made for another base: a name, a shape or a layer does not fit."""


class AdapterKindError(AdapterError):
    """A kind of adapter that this version does not apply; it never applies half of one."""


class AdapterNotFoundError(AdapterError):
    """No adapter of this name or version."""


class AdapterCapacityError(AdapterError):
    """The adapter takes more than the memory for adapters can ever hold."""


class TokenizerError(RealmError):
    """A vocabulary cannot be used, or text or ids do not fit it."""


class ChatTemplateError(RealmError):
    """A chat template is missing, malformed, or refuses the messages."""


class RequestError(RealmError):
    """A request cannot be served as it stands."""


class ContextLengthError(RequestError):
    """A request needs more tokens than the context holds."""


class CapacityError(RequestError):
    """There are not enough cache pages for the request."""


class ConstraintError(RequestError):
    """A JSON schema, regex or grammar cannot be used, or it allows no token here."""


class ProgramNotFoundError(RequestError):
    """The tenant has no program of this name."""


class FieldError(RequestError):
    """A field of a request is missing or not usable. parameter: its path, such as
    `messages[0].content`; None where none can be named."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class CancelledError(RequestError):
    """The request was cancelled before it ended."""


class HostError(RequestError):
    """The host itself failed on the request, which may be without a fault."""


class GuestError(RealmError):
    """A tenant's program failed."""


class GuestCompileError(GuestError):
    """The bytes are not a WASM module that can be compiled."""


class GuestContractError(GuestError):
    """The program's imports or exports do not fit the contract."""


class GuestTrapError(GuestError):
    """The program trapped."""


class GuestLimitError(GuestError):
    """The program reached one of its limits."""


class ToolError(GuestError):
    """A tool that a program called refuses; the program may read the message."""


class StateStoreError(GuestError):
    """What tenants keep from request to request cannot be read or written."""


class CatalogError(RealmError):
    """A model cannot be found, fetched or verified."""


class IntegrityError(CatalogError):
    """Fetched bytes are not the expected ones."""


class ServerError(RealmError):
    """The server cannot do what it was asked."""


class UnauthorizedError(ServerError):
    """No key, or one that does not open anything; the message never holds it."""


class RateLimitError(ServerError):
    """More than the tenant may ask for now. retry_after_seconds: when it is worth trying again."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class EngineUnavailableError(ServerError):
    """The engine process is starting, draining, or was lost. retry_after_seconds: a guess."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TenantStoreError(ServerError):
    """Tenants and keys cannot be read or written."""


class PipelineError(ServerError):
    """A pipeline's definition cannot be used; the message names file, step and field."""


class PipelineNotFoundError(PipelineError):
    """No pipeline of this id."""


class PipelineInputError(PipelineError):
    """What a pipeline was given is not what it takes. field: which part of it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class PipelineStepError(PipelineError):
    """A step of a pipeline has failed. cause: in what. The message names the step."""

    def __init__(self, step_id: str, cause: RealmError) -> None:
        super().__init__(f"step {step_id!r}: {cause}")
        self.step_id = step_id
        self.cause = cause


class WireError(ServerError):
    """Front and engine process do not understand each other."""


class NativeError(RealmError):
    """The native core refused its arguments."""
