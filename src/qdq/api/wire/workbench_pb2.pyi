import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_CREATED: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_OPTIMIZING_MODEL: _ClassVar[JobState]
    JOB_STATE_PROVISIONING_DEVICE: _ClassVar[JobState]
    JOB_STATE_MEASURING_PERFORMANCE: _ClassVar[JobState]
    JOB_STATE_RUNNING_INFERENCE: _ClassVar[JobState]
    JOB_STATE_QUANTIZING_MODEL: _ClassVar[JobState]
    JOB_STATE_LINKING_MODELS: _ClassVar[JobState]

class JobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_TYPE_UNSPECIFIED: _ClassVar[JobType]
    JOB_TYPE_PROFILE: _ClassVar[JobType]
    JOB_TYPE_INFERENCE: _ClassVar[JobType]
    JOB_TYPE_COMPILE: _ClassVar[JobType]
    JOB_TYPE_QUANTIZE: _ClassVar[JobType]
    JOB_TYPE_LINK: _ClassVar[JobType]

class JobFailureType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_FAILURE_TYPE_UNSPECIFIED: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_SUCCESS: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_UNKNOWN: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_UNSUPPORTED: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_INTERNAL_UNKNOWN: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_INTERNAL_LOGIC: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_UNKNOWN: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_CRASH: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_OUT_OF_DISK: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_FAILED_DEPENDENCY: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_OUT_OF_MEMORY: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_CLOUD_API_ERROR: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_CLOUD_RESOURCE_MISSING: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_QDC_API_ERROR: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_MODEL_UNKNOWN: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_QNN_TOOL_ERROR: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_TIMEOUT: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_DEVICE_OOM: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_CLOUD_THROTTLED: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_INVALID_INPUTS: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_INVALID_ARGUMENT: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_MODEL_CORRUPT: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_MODEL_INVALID: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_QNN_VERSION_MISMATCH: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_DSP_VERSION_MISMATCH: _ClassVar[JobFailureType]
    JOB_FAILURE_TYPE_RUNTIME_INTERNAL_SERVICE_BUSY: _ClassVar[JobFailureType]

class JobArtifactType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_ARTIFACT_TYPE_UNSPECIFIED: _ClassVar[JobArtifactType]
    JOB_ARTIFACT_TYPE_DEVICE_LOG: _ClassVar[JobArtifactType]
    JOB_ARTIFACT_TYPE_HUB_LOG: _ClassVar[JobArtifactType]
    JOB_ARTIFACT_TYPE_PROFILE_TRACE: _ClassVar[JobArtifactType]
    JOB_ARTIFACT_TYPE_NETRON_VIZ_ARCHIVE: _ClassVar[JobArtifactType]
    JOB_ARTIFACT_TYPE_QHAS_SUMMARY: _ClassVar[JobArtifactType]

class ModelType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_TYPE_UNSPECIFIED: _ClassVar[ModelType]
    MODEL_TYPE_TORCHSCRIPT: _ClassVar[ModelType]
    MODEL_TYPE_MLMODEL: _ClassVar[ModelType]
    MODEL_TYPE_DEPRECATED_UNTRACED_TORCHSCRIPT: _ClassVar[ModelType]
    MODEL_TYPE_TFLITE: _ClassVar[ModelType]
    MODEL_TYPE_MLMODELC: _ClassVar[ModelType]
    MODEL_TYPE_ONNX: _ClassVar[ModelType]
    MODEL_TYPE_ORT: _ClassVar[ModelType]
    MODEL_TYPE_MLPACKAGE: _ClassVar[ModelType]
    MODEL_TYPE_TETRART: _ClassVar[ModelType]
    MODEL_TYPE_QNN_LIB_AARCH64_ANDROID: _ClassVar[ModelType]
    MODEL_TYPE_QNN_CONTEXT_BINARY: _ClassVar[ModelType]
    MODEL_TYPE_AIMET_ONNX: _ClassVar[ModelType]
    MODEL_TYPE_AIMET_PT: _ClassVar[ModelType]
    MODEL_TYPE_QNN_LIB_X86_64_LINUX: _ClassVar[ModelType]
    MODEL_TYPE_QNN_DLC: _ClassVar[ModelType]
    MODEL_TYPE_TORCH_EXPORTED_PROGRAM: _ClassVar[ModelType]

class ModelMetadataKey(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_METADATA_KEY_UNSPECIFIED: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_SDK_VERSION: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_SDK_VARIANT: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QAIRT_SDK_VERSION: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_MODEL_GRAPH_NAMES: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_CONTEXT_BIN_HEXAGON_VERSION: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_CONTEXT_BIN_SOC_MODEL: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_CONTEXT_BIN_BACKEND: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_CONTEXT_BIN_VTCM: _ClassVar[ModelMetadataKey]
    MODEL_METADATA_KEY_QNN_CONTEXT_BIN_OPTIMIZATION_LEVEL: _ClassVar[ModelMetadataKey]

class TensorDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TENSOR_DTYPE_UNSPECIFIED: _ClassVar[TensorDtype]
    TENSOR_DTYPE_FLOAT32: _ClassVar[TensorDtype]
    TENSOR_DTYPE_FLOAT16: _ClassVar[TensorDtype]
    TENSOR_DTYPE_INT32: _ClassVar[TensorDtype]
    TENSOR_DTYPE_INT64: _ClassVar[TensorDtype]
    TENSOR_DTYPE_INT8: _ClassVar[TensorDtype]
    TENSOR_DTYPE_UINT8: _ClassVar[TensorDtype]
    TENSOR_DTYPE_INT16: _ClassVar[TensorDtype]
    TENSOR_DTYPE_UINT16: _ClassVar[TensorDtype]
    TENSOR_DTYPE_BOOL: _ClassVar[TensorDtype]

class QuantizeDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUANTIZE_DTYPE_UNSPECIFIED: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_INT8: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_UINT8: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_INT16: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_UINT16: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_INT4: _ClassVar[QuantizeDtype]
    QUANTIZE_DTYPE_UINT4: _ClassVar[QuantizeDtype]

class ComputeUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPUTE_UNIT_UNSPECIFIED: _ClassVar[ComputeUnit]
    COMPUTE_UNIT_CPU: _ClassVar[ComputeUnit]
    COMPUTE_UNIT_GPU: _ClassVar[ComputeUnit]
    COMPUTE_UNIT_NPU: _ClassVar[ComputeUnit]

class DatasetPermission(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_CAN_VIEW: _ClassVar[DatasetPermission]
    DATASET_CAN_UPDATE: _ClassVar[DatasetPermission]

class JobPermission(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_CAN_VIEW: _ClassVar[JobPermission]
    JOB_CAN_UPDATE: _ClassVar[JobPermission]

class ModelPermission(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_CAN_VIEW: _ClassVar[ModelPermission]
    MODEL_CAN_UPDATE: _ClassVar[ModelPermission]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_CREATED: JobState
JOB_STATE_DONE: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_OPTIMIZING_MODEL: JobState
JOB_STATE_PROVISIONING_DEVICE: JobState
JOB_STATE_MEASURING_PERFORMANCE: JobState
JOB_STATE_RUNNING_INFERENCE: JobState
JOB_STATE_QUANTIZING_MODEL: JobState
JOB_STATE_LINKING_MODELS: JobState
JOB_TYPE_UNSPECIFIED: JobType
JOB_TYPE_PROFILE: JobType
JOB_TYPE_INFERENCE: JobType
JOB_TYPE_COMPILE: JobType
JOB_TYPE_QUANTIZE: JobType
JOB_TYPE_LINK: JobType
JOB_FAILURE_TYPE_UNSPECIFIED: JobFailureType
JOB_FAILURE_TYPE_SUCCESS: JobFailureType
JOB_FAILURE_TYPE_UNKNOWN: JobFailureType
JOB_FAILURE_TYPE_UNSUPPORTED: JobFailureType
JOB_FAILURE_TYPE_INTERNAL_UNKNOWN: JobFailureType
JOB_FAILURE_TYPE_INTERNAL_LOGIC: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_UNKNOWN: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_CRASH: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_OUT_OF_DISK: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_FAILED_DEPENDENCY: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_OUT_OF_MEMORY: JobFailureType
JOB_FAILURE_TYPE_CLOUD_API_ERROR: JobFailureType
JOB_FAILURE_TYPE_CLOUD_RESOURCE_MISSING: JobFailureType
JOB_FAILURE_TYPE_QDC_API_ERROR: JobFailureType
JOB_FAILURE_TYPE_MODEL_UNKNOWN: JobFailureType
JOB_FAILURE_TYPE_QNN_TOOL_ERROR: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_TIMEOUT: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_DEVICE_OOM: JobFailureType
JOB_FAILURE_TYPE_CLOUD_THROTTLED: JobFailureType
JOB_FAILURE_TYPE_INVALID_INPUTS: JobFailureType
JOB_FAILURE_TYPE_INVALID_ARGUMENT: JobFailureType
JOB_FAILURE_TYPE_MODEL_CORRUPT: JobFailureType
JOB_FAILURE_TYPE_MODEL_INVALID: JobFailureType
JOB_FAILURE_TYPE_QNN_VERSION_MISMATCH: JobFailureType
JOB_FAILURE_TYPE_DSP_VERSION_MISMATCH: JobFailureType
JOB_FAILURE_TYPE_RUNTIME_INTERNAL_SERVICE_BUSY: JobFailureType
JOB_ARTIFACT_TYPE_UNSPECIFIED: JobArtifactType
JOB_ARTIFACT_TYPE_DEVICE_LOG: JobArtifactType
JOB_ARTIFACT_TYPE_HUB_LOG: JobArtifactType
JOB_ARTIFACT_TYPE_PROFILE_TRACE: JobArtifactType
JOB_ARTIFACT_TYPE_NETRON_VIZ_ARCHIVE: JobArtifactType
JOB_ARTIFACT_TYPE_QHAS_SUMMARY: JobArtifactType
MODEL_TYPE_UNSPECIFIED: ModelType
MODEL_TYPE_TORCHSCRIPT: ModelType
MODEL_TYPE_MLMODEL: ModelType
MODEL_TYPE_DEPRECATED_UNTRACED_TORCHSCRIPT: ModelType
MODEL_TYPE_TFLITE: ModelType
MODEL_TYPE_MLMODELC: ModelType
MODEL_TYPE_ONNX: ModelType
MODEL_TYPE_ORT: ModelType
MODEL_TYPE_MLPACKAGE: ModelType
MODEL_TYPE_TETRART: ModelType
MODEL_TYPE_QNN_LIB_AARCH64_ANDROID: ModelType
MODEL_TYPE_QNN_CONTEXT_BINARY: ModelType
MODEL_TYPE_AIMET_ONNX: ModelType
MODEL_TYPE_AIMET_PT: ModelType
MODEL_TYPE_QNN_LIB_X86_64_LINUX: ModelType
MODEL_TYPE_QNN_DLC: ModelType
MODEL_TYPE_TORCH_EXPORTED_PROGRAM: ModelType
MODEL_METADATA_KEY_UNSPECIFIED: ModelMetadataKey
MODEL_METADATA_KEY_QNN_SDK_VERSION: ModelMetadataKey
MODEL_METADATA_KEY_QNN_SDK_VARIANT: ModelMetadataKey
MODEL_METADATA_KEY_QAIRT_SDK_VERSION: ModelMetadataKey
MODEL_METADATA_KEY_QNN_MODEL_GRAPH_NAMES: ModelMetadataKey
MODEL_METADATA_KEY_QNN_CONTEXT_BIN_HEXAGON_VERSION: ModelMetadataKey
MODEL_METADATA_KEY_QNN_CONTEXT_BIN_SOC_MODEL: ModelMetadataKey
MODEL_METADATA_KEY_QNN_CONTEXT_BIN_BACKEND: ModelMetadataKey
MODEL_METADATA_KEY_QNN_CONTEXT_BIN_VTCM: ModelMetadataKey
MODEL_METADATA_KEY_QNN_CONTEXT_BIN_OPTIMIZATION_LEVEL: ModelMetadataKey
TENSOR_DTYPE_UNSPECIFIED: TensorDtype
TENSOR_DTYPE_FLOAT32: TensorDtype
TENSOR_DTYPE_FLOAT16: TensorDtype
TENSOR_DTYPE_INT32: TensorDtype
TENSOR_DTYPE_INT64: TensorDtype
TENSOR_DTYPE_INT8: TensorDtype
TENSOR_DTYPE_UINT8: TensorDtype
TENSOR_DTYPE_INT16: TensorDtype
TENSOR_DTYPE_UINT16: TensorDtype
TENSOR_DTYPE_BOOL: TensorDtype
QUANTIZE_DTYPE_UNSPECIFIED: QuantizeDtype
QUANTIZE_DTYPE_INT8: QuantizeDtype
QUANTIZE_DTYPE_UINT8: QuantizeDtype
QUANTIZE_DTYPE_INT16: QuantizeDtype
QUANTIZE_DTYPE_UINT16: QuantizeDtype
QUANTIZE_DTYPE_INT4: QuantizeDtype
QUANTIZE_DTYPE_UINT4: QuantizeDtype
COMPUTE_UNIT_UNSPECIFIED: ComputeUnit
COMPUTE_UNIT_CPU: ComputeUnit
COMPUTE_UNIT_GPU: ComputeUnit
COMPUTE_UNIT_NPU: ComputeUnit
DATASET_CAN_VIEW: DatasetPermission
DATASET_CAN_UPDATE: DatasetPermission
JOB_CAN_VIEW: JobPermission
JOB_CAN_UPDATE: JobPermission
MODEL_CAN_VIEW: ModelPermission
MODEL_CAN_UPDATE: ModelPermission

class FieldError(_message.Message):
    __slots__ = ("field", "messages")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    field: str
    messages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field: _Optional[str] = ..., messages: _Optional[_Iterable[str]] = ...) -> None: ...

class ValidationError(_message.Message):
    __slots__ = ("field_errors", "non_field_errors")
    FIELD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    NON_FIELD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    field_errors: _containers.RepeatedCompositeFieldContainer[FieldError]
    non_field_errors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field_errors: _Optional[_Iterable[_Union[FieldError, _Mapping]]] = ..., non_field_errors: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateUpdateResponse(_message.Message):
    __slots__ = ("id", "status", "creation_time", "expiration_time", "validation_error")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRATION_TIME_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    creation_time: _timestamp_pb2.Timestamp
    expiration_time: _timestamp_pb2.Timestamp
    validation_error: ValidationError
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expiration_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., validation_error: _Optional[_Union[ValidationError, _Mapping]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("id", "error_status")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    error_status: str
    def __init__(self, id: _Optional[str] = ..., error_status: _Optional[str] = ...) -> None: ...

class MoveToProjectRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class JobPublicUpdate(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class FileUploadURL(_message.Message):
    __slots__ = ("url", "file_field_name", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NAME_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    url: str
    file_field_name: str
    fields: _containers.ScalarMap[str, str]
    def __init__(self, url: _Optional[str] = ..., file_field_name: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FileMultipartUploadURL(_message.Message):
    __slots__ = ("urls", "upload_id", "max_part_size")
    URLS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_PART_SIZE_FIELD_NUMBER: _ClassVar[int]
    urls: _containers.RepeatedScalarFieldContainer[str]
    upload_id: str
    max_part_size: int
    def __init__(self, urls: _Optional[_Iterable[str]] = ..., upload_id: _Optional[str] = ..., max_part_size: _Optional[int] = ...) -> None: ...

class FileMultipartUploadComplete(_message.Message):
    __slots__ = ("upload_id", "etags")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    ETAGS_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    etags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, upload_id: _Optional[str] = ..., etags: _Optional[_Iterable[str]] = ...) -> None: ...

class FileDownloadURL(_message.Message):
    __slots__ = ("url", "filename")
    URL_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    url: str
    filename: str
    def __init__(self, url: _Optional[str] = ..., filename: _Optional[str] = ...) -> None: ...

class S3Credentials(_message.Message):
    __slots__ = ("access_key_id", "secret_access_key", "session_token", "expiration", "bucket", "key", "region", "use_transfer_acceleration", "filename")
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRATION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    USE_TRANSFER_ACCELERATION_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: _timestamp_pb2.Timestamp
    bucket: str
    key: str
    region: str
    use_transfer_acceleration: bool
    filename: str
    def __init__(self, access_key_id: _Optional[str] = ..., secret_access_key: _Optional[str] = ..., session_token: _Optional[str] = ..., expiration: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bucket: _Optional[str] = ..., key: _Optional[str] = ..., region: _Optional[str] = ..., use_transfer_acceleration: bool = ..., filename: _Optional[str] = ...) -> None: ...

class FileUploadResponse(_message.Message):
    __slots__ = ("url", "multipart_url", "credentials")
    URL_FIELD_NUMBER: _ClassVar[int]
    MULTIPART_URL_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    url: FileUploadURL
    multipart_url: FileMultipartUploadURL
    credentials: S3Credentials
    def __init__(self, url: _Optional[_Union[FileUploadURL, _Mapping]] = ..., multipart_url: _Optional[_Union[FileMultipartUploadURL, _Mapping]] = ..., credentials: _Optional[_Union[S3Credentials, _Mapping]] = ...) -> None: ...

class FileDownloadResponse(_message.Message):
    __slots__ = ("url", "credentials")
    URL_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    url: FileDownloadURL
    credentials: S3Credentials
    def __init__(self, url: _Optional[_Union[FileDownloadURL, _Mapping]] = ..., credentials: _Optional[_Union[S3Credentials, _Mapping]] = ...) -> None: ...

class NamedArtifactDownloadURL(_message.Message):
    __slots__ = ("url", "filename", "name", "credentials")
    URL_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    url: str
    filename: str
    name: str
    credentials: S3Credentials
    def __init__(self, url: _Optional[str] = ..., filename: _Optional[str] = ..., name: _Optional[str] = ..., credentials: _Optional[_Union[S3Credentials, _Mapping]] = ...) -> None: ...

class NamedArtifactDownloadURLList(_message.Message):
    __slots__ = ("artifacts",)
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    artifacts: _containers.RepeatedCompositeFieldContainer[NamedArtifactDownloadURL]
    def __init__(self, artifacts: _Optional[_Iterable[_Union[NamedArtifactDownloadURL, _Mapping]]] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("id", "first_name", "last_name", "email", "token", "org_id", "default_project_id", "default_project_slug")
    ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    id: int
    first_name: str
    last_name: str
    email: str
    token: str
    org_id: int
    default_project_id: str
    default_project_slug: str
    def __init__(self, id: _Optional[int] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., email: _Optional[str] = ..., token: _Optional[str] = ..., org_id: _Optional[int] = ..., default_project_id: _Optional[str] = ..., default_project_slug: _Optional[str] = ...) -> None: ...

class UserList(_message.Message):
    __slots__ = ("users", "total_query_count")
    USERS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[User]
    total_query_count: int
    def __init__(self, users: _Optional[_Iterable[_Union[User, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class UserChangePassword(_message.Message):
    __slots__ = ("old_password", "new_password")
    OLD_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    NEW_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    old_password: str
    new_password: str
    def __init__(self, old_password: _Optional[str] = ..., new_password: _Optional[str] = ...) -> None: ...

class SharedAccess(_message.Message):
    __slots__ = ("email",)
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    email: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, email: _Optional[_Iterable[str]] = ...) -> None: ...

class SharedAccessChange(_message.Message):
    __slots__ = ("add_email", "remove_email")
    ADD_EMAIL_FIELD_NUMBER: _ClassVar[int]
    REMOVE_EMAIL_FIELD_NUMBER: _ClassVar[int]
    add_email: _containers.RepeatedScalarFieldContainer[str]
    remove_email: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, add_email: _Optional[_Iterable[str]] = ..., remove_email: _Optional[_Iterable[str]] = ...) -> None: ...

class DatasetAuthorization(_message.Message):
    __slots__ = ("permissions",)
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedScalarFieldContainer[DatasetPermission]
    def __init__(self, permissions: _Optional[_Iterable[_Union[DatasetPermission, str]]] = ...) -> None: ...

class JobAuthorization(_message.Message):
    __slots__ = ("permissions",)
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedScalarFieldContainer[JobPermission]
    def __init__(self, permissions: _Optional[_Iterable[_Union[JobPermission, str]]] = ...) -> None: ...

class ModelAuthorization(_message.Message):
    __slots__ = ("permissions",)
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedScalarFieldContainer[ModelPermission]
    def __init__(self, permissions: _Optional[_Iterable[_Union[ModelPermission, str]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("name", "os", "attributes", "soc_description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SOC_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    os: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    soc_description: str
    def __init__(self, name: _Optional[str] = ..., os: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., soc_description: _Optional[str] = ...) -> None: ...

class DeviceList(_message.Message):
    __slots__ = ("devices", "total_query_count")
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    total_query_count: int
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class Framework(_message.Message):
    __slots__ = ("name", "api_version", "api_tags", "full_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    API_TAGS_FIELD_NUMBER: _ClassVar[int]
    FULL_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    api_version: str
    api_tags: _containers.RepeatedScalarFieldContainer[str]
    full_version: str
    def __init__(self, name: _Optional[str] = ..., api_version: _Optional[str] = ..., api_tags: _Optional[_Iterable[str]] = ..., full_version: _Optional[str] = ...) -> None: ...

class FrameworkList(_message.Message):
    __slots__ = ("frameworks", "total_query_count")
    FRAMEWORKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    frameworks: _containers.RepeatedCompositeFieldContainer[Framework]
    total_query_count: int
    def __init__(self, frameworks: _Optional[_Iterable[_Union[Framework, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class TensorType(_message.Message):
    __slots__ = ("shape", "dtype", "scale", "zero_point")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ZERO_POINT_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: TensorDtype
    scale: float
    zero_point: float
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[TensorDtype, str]] = ..., scale: _Optional[float] = ..., zero_point: _Optional[float] = ...) -> None: ...

class NamedTensorType(_message.Message):
    __slots__ = ("name", "tensor_type", "graph_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    GRAPH_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    tensor_type: TensorType
    graph_name: str
    def __init__(self, name: _Optional[str] = ..., tensor_type: _Optional[_Union[TensorType, _Mapping]] = ..., graph_name: _Optional[str] = ...) -> None: ...

class NamedTensorTypeList(_message.Message):
    __slots__ = ("types",)
    TYPES_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedCompositeFieldContainer[NamedTensorType]
    def __init__(self, types: _Optional[_Iterable[_Union[NamedTensorType, _Mapping]]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("dataset_id", "owner", "name", "creation_time", "expiration_time", "file_upload_complete", "read_only", "permanent", "project_id", "project_slug", "actor_authorization")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRATION_TIME_FIELD_NUMBER: _ClassVar[int]
    FILE_UPLOAD_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    ACTOR_AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    owner: User
    name: str
    creation_time: _timestamp_pb2.Timestamp
    expiration_time: _timestamp_pb2.Timestamp
    file_upload_complete: bool
    read_only: bool
    permanent: bool
    project_id: str
    project_slug: str
    actor_authorization: DatasetAuthorization
    def __init__(self, dataset_id: _Optional[str] = ..., owner: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expiration_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., file_upload_complete: bool = ..., read_only: bool = ..., permanent: bool = ..., project_id: _Optional[str] = ..., project_slug: _Optional[str] = ..., actor_authorization: _Optional[_Union[DatasetAuthorization, _Mapping]] = ...) -> None: ...

class DatasetList(_message.Message):
    __slots__ = ("datasets", "total_query_count")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    total_query_count: int
    def __init__(self, datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class ModelMetadata(_message.Message):
    __slots__ = ("entries",)
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.ScalarMap[int, str]
    def __init__(self, entries: _Optional[_Mapping[int, str]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model_id", "owner", "name", "creation_time", "model_type", "file_upload_complete", "producer_id", "read_only", "is_directory", "hidden", "producer_attempt_number", "metadata", "has_vizgraph", "input_spec", "output_spec", "project_id", "project_slug", "actor_authorization")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILE_UPLOAD_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    IS_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    HAS_VIZGRAPH_FIELD_NUMBER: _ClassVar[int]
    INPUT_SPEC_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SPEC_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    ACTOR_AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    owner: User
    name: str
    creation_time: _timestamp_pb2.Timestamp
    model_type: ModelType
    file_upload_complete: bool
    producer_id: str
    read_only: bool
    is_directory: bool
    hidden: bool
    producer_attempt_number: int
    metadata: ModelMetadata
    has_vizgraph: bool
    input_spec: NamedTensorTypeList
    output_spec: NamedTensorTypeList
    project_id: str
    project_slug: str
    actor_authorization: ModelAuthorization
    def __init__(self, model_id: _Optional[str] = ..., owner: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_type: _Optional[_Union[ModelType, str]] = ..., file_upload_complete: bool = ..., producer_id: _Optional[str] = ..., read_only: bool = ..., is_directory: bool = ..., hidden: bool = ..., producer_attempt_number: _Optional[int] = ..., metadata: _Optional[_Union[ModelMetadata, _Mapping]] = ..., has_vizgraph: bool = ..., input_spec: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., output_spec: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., project_id: _Optional[str] = ..., project_slug: _Optional[str] = ..., actor_authorization: _Optional[_Union[ModelAuthorization, _Mapping]] = ...) -> None: ...

class ModelList(_message.Message):
    __slots__ = ("models", "total_query_count")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    total_query_count: int
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("context", "severity", "message")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DEBUG: _ClassVar[Notice.Severity]
        INFO: _ClassVar[Notice.Severity]
        WARNING: _ClassVar[Notice.Severity]
        ERROR: _ClassVar[Notice.Severity]
    DEBUG: Notice.Severity
    INFO: Notice.Severity
    WARNING: Notice.Severity
    ERROR: Notice.Severity
    class Context(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DEVICE: _ClassVar[Notice.Context]
        MODEL: _ClassVar[Notice.Context]
        USER: _ClassVar[Notice.Context]
    DEVICE: Notice.Context
    MODEL: Notice.Context
    USER: Notice.Context
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    context: Notice.Context
    severity: Notice.Severity
    message: str
    def __init__(self, context: _Optional[_Union[Notice.Context, str]] = ..., severity: _Optional[_Union[Notice.Severity, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CompileJob(_message.Message):
    __slots__ = ("compile_job_id", "user", "user_id", "model", "job_state", "device", "devices", "tensor_type_list", "name", "options", "failure_reason", "target_model", "has_vizgraph", "creation_time", "start_time", "completion_time", "last_updated_time", "admin_url", "target_tensor_type_list", "calibration_dataset", "queued_time", "error_details", "project_id", "project_slug")
    COMPILE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_LIST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_FIELD_NUMBER: _ClassVar[int]
    HAS_VIZGRAPH_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ADMIN_URL_FIELD_NUMBER: _ClassVar[int]
    TARGET_TENSOR_TYPE_LIST_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_DATASET_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    compile_job_id: str
    user: User
    user_id: int
    model: Model
    job_state: JobState
    device: Device
    devices: DeviceList
    tensor_type_list: NamedTensorTypeList
    name: str
    options: str
    failure_reason: str
    target_model: Model
    has_vizgraph: bool
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    admin_url: str
    target_tensor_type_list: NamedTensorTypeList
    calibration_dataset: Dataset
    queued_time: _timestamp_pb2.Timestamp
    error_details: str
    project_id: str
    project_slug: str
    def __init__(self, compile_job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., user_id: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., job_state: _Optional[_Union[JobState, str]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., devices: _Optional[_Union[DeviceList, _Mapping]] = ..., tensor_type_list: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., name: _Optional[str] = ..., options: _Optional[str] = ..., failure_reason: _Optional[str] = ..., target_model: _Optional[_Union[Model, _Mapping]] = ..., has_vizgraph: bool = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., admin_url: _Optional[str] = ..., target_tensor_type_list: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., calibration_dataset: _Optional[_Union[Dataset, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error_details: _Optional[str] = ..., project_id: _Optional[str] = ..., project_slug: _Optional[str] = ...) -> None: ...

class QuantizeJob(_message.Message):
    __slots__ = ("quantize_job_id", "user", "user_id", "model", "calibration_dataset", "weights_dtype", "activations_dtype", "name", "job_state", "options", "tensor_type_list", "creation_time", "start_time", "completion_time", "last_updated_time", "failure_reason", "target_model", "admin_url", "has_vizgraph", "queued_time", "project_id", "project_slug")
    QUANTIZE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_DATASET_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DTYPE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_DTYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_LIST_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_FIELD_NUMBER: _ClassVar[int]
    ADMIN_URL_FIELD_NUMBER: _ClassVar[int]
    HAS_VIZGRAPH_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    quantize_job_id: str
    user: User
    user_id: int
    model: Model
    calibration_dataset: Dataset
    weights_dtype: QuantizeDtype
    activations_dtype: QuantizeDtype
    name: str
    job_state: JobState
    options: str
    tensor_type_list: NamedTensorTypeList
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    failure_reason: str
    target_model: Model
    admin_url: str
    has_vizgraph: bool
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    project_slug: str
    def __init__(self, quantize_job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., user_id: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., calibration_dataset: _Optional[_Union[Dataset, _Mapping]] = ..., weights_dtype: _Optional[_Union[QuantizeDtype, str]] = ..., activations_dtype: _Optional[_Union[QuantizeDtype, str]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., options: _Optional[str] = ..., tensor_type_list: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., failure_reason: _Optional[str] = ..., target_model: _Optional[_Union[Model, _Mapping]] = ..., admin_url: _Optional[str] = ..., has_vizgraph: bool = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., project_slug: _Optional[str] = ...) -> None: ...

class LinkJob(_message.Message):
    __slots__ = ("link_job_id", "user", "user_id", "models", "job_state", "name", "options", "failure_reason", "target_model", "creation_time", "start_time", "completion_time", "last_updated_time", "admin_url", "queued_time", "device", "project_id", "error_details", "project_slug")
    LINK_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ADMIN_URL_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    link_job_id: str
    user: User
    user_id: int
    models: ModelList
    job_state: JobState
    name: str
    options: str
    failure_reason: str
    target_model: Model
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    admin_url: str
    queued_time: _timestamp_pb2.Timestamp
    device: Device
    project_id: str
    error_details: str
    project_slug: str
    def __init__(self, link_job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., user_id: _Optional[int] = ..., models: _Optional[_Union[ModelList, _Mapping]] = ..., job_state: _Optional[_Union[JobState, str]] = ..., name: _Optional[str] = ..., options: _Optional[str] = ..., failure_reason: _Optional[str] = ..., target_model: _Optional[_Union[Model, _Mapping]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., admin_url: _Optional[str] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., project_id: _Optional[str] = ..., error_details: _Optional[str] = ..., project_slug: _Optional[str] = ...) -> None: ...

class InferenceJob(_message.Message):
    __slots__ = ("inference_job_id", "user", "user_id", "model", "device", "job_state", "name", "dataset", "creation_time", "start_time", "completion_time", "failure_reason", "options", "last_updated_time", "admin_url", "error_details", "queued_time", "project_id", "is_profiling_on", "execution_time", "execution_peak_memory", "has_vizgraph", "tensor_type_list", "project_slug")
    INFERENCE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ADMIN_URL_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    IS_PROFILING_ON_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    HAS_VIZGRAPH_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_LIST_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    inference_job_id: str
    user: User
    user_id: int
    model: Model
    device: Device
    job_state: JobState
    name: str
    dataset: Dataset
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    failure_reason: str
    options: str
    last_updated_time: _timestamp_pb2.Timestamp
    admin_url: str
    error_details: str
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    is_profiling_on: bool
    execution_time: int
    execution_peak_memory: Range
    has_vizgraph: bool
    tensor_type_list: NamedTensorTypeList
    project_slug: str
    def __init__(self, inference_job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., user_id: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., job_state: _Optional[_Union[JobState, str]] = ..., name: _Optional[str] = ..., dataset: _Optional[_Union[Dataset, _Mapping]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., failure_reason: _Optional[str] = ..., options: _Optional[str] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., admin_url: _Optional[str] = ..., error_details: _Optional[str] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., is_profiling_on: bool = ..., execution_time: _Optional[int] = ..., execution_peak_memory: _Optional[_Union[Range, _Mapping]] = ..., has_vizgraph: bool = ..., tensor_type_list: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., project_slug: _Optional[str] = ...) -> None: ...

class ProfileJob(_message.Message):
    __slots__ = ("profile_job_id", "user", "user_id", "model", "job_state", "device", "tensor_type_list", "creation_time", "start_time", "completion_time", "execution_time", "failure_reason", "peak_memory_usage", "name", "options", "dataset", "target_model", "execution_peak_memory", "has_vizgraph", "last_updated_time", "admin_url", "includes_compile", "error_details", "queued_time", "project_id", "project_slug")
    PROFILE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_LIST_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_USAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    HAS_VIZGRAPH_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ADMIN_URL_FIELD_NUMBER: _ClassVar[int]
    INCLUDES_COMPILE_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    profile_job_id: str
    user: User
    user_id: int
    model: Model
    job_state: JobState
    device: Device
    tensor_type_list: NamedTensorTypeList
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    execution_time: int
    failure_reason: str
    peak_memory_usage: int
    name: str
    options: str
    dataset: Dataset
    target_model: Model
    execution_peak_memory: Range
    has_vizgraph: bool
    last_updated_time: _timestamp_pb2.Timestamp
    admin_url: str
    includes_compile: bool
    error_details: str
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    project_slug: str
    def __init__(self, profile_job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., user_id: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., job_state: _Optional[_Union[JobState, str]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., tensor_type_list: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., execution_time: _Optional[int] = ..., failure_reason: _Optional[str] = ..., peak_memory_usage: _Optional[int] = ..., name: _Optional[str] = ..., options: _Optional[str] = ..., dataset: _Optional[_Union[Dataset, _Mapping]] = ..., target_model: _Optional[_Union[Model, _Mapping]] = ..., execution_peak_memory: _Optional[_Union[Range, _Mapping]] = ..., has_vizgraph: bool = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., admin_url: _Optional[str] = ..., includes_compile: bool = ..., error_details: _Optional[str] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., project_slug: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("profile_job", "inference_job", "compile_job", "quantize_job", "link_job", "hub_version", "read_only", "notices", "failure_type", "available_artifacts", "actor_authorization")
    PROFILE_JOB_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_JOB_FIELD_NUMBER: _ClassVar[int]
    COMPILE_JOB_FIELD_NUMBER: _ClassVar[int]
    QUANTIZE_JOB_FIELD_NUMBER: _ClassVar[int]
    LINK_JOB_FIELD_NUMBER: _ClassVar[int]
    HUB_VERSION_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_TYPE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    profile_job: ProfileJob
    inference_job: InferenceJob
    compile_job: CompileJob
    quantize_job: QuantizeJob
    link_job: LinkJob
    hub_version: str
    read_only: bool
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    failure_type: JobFailureType
    available_artifacts: _containers.RepeatedScalarFieldContainer[JobArtifactType]
    actor_authorization: JobAuthorization
    def __init__(self, profile_job: _Optional[_Union[ProfileJob, _Mapping]] = ..., inference_job: _Optional[_Union[InferenceJob, _Mapping]] = ..., compile_job: _Optional[_Union[CompileJob, _Mapping]] = ..., quantize_job: _Optional[_Union[QuantizeJob, _Mapping]] = ..., link_job: _Optional[_Union[LinkJob, _Mapping]] = ..., hub_version: _Optional[str] = ..., read_only: bool = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., failure_type: _Optional[_Union[JobFailureType, str]] = ..., available_artifacts: _Optional[_Iterable[_Union[JobArtifactType, str]]] = ..., actor_authorization: _Optional[_Union[JobAuthorization, _Mapping]] = ...) -> None: ...

class JobList(_message.Message):
    __slots__ = ("jobs", "total_query_count")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    total_query_count: int
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class CompileJobSummary(_message.Message):
    __slots__ = ("job_id", "user", "name", "job_state", "device_name", "device_os_version", "creation_time", "start_time", "completion_time", "last_updated_time", "queued_time", "project_id", "target_model_type", "project_slug")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user: User
    name: str
    job_state: JobState
    device_name: str
    device_os_version: str
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    target_model_type: ModelType
    project_slug: str
    def __init__(self, job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., device_name: _Optional[str] = ..., device_os_version: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., target_model_type: _Optional[_Union[ModelType, str]] = ..., project_slug: _Optional[str] = ...) -> None: ...

class QuantizeJobSummary(_message.Message):
    __slots__ = ("job_id", "user", "name", "job_state", "creation_time", "start_time", "completion_time", "last_updated_time", "queued_time", "project_id", "target_model_type", "project_slug")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user: User
    name: str
    job_state: JobState
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    target_model_type: ModelType
    project_slug: str
    def __init__(self, job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., target_model_type: _Optional[_Union[ModelType, str]] = ..., project_slug: _Optional[str] = ...) -> None: ...

class LinkJobSummary(_message.Message):
    __slots__ = ("job_id", "user", "name", "job_state", "creation_time", "start_time", "completion_time", "last_updated_time", "queued_time", "device_name", "device_os_version", "project_id", "target_model_type", "project_slug")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user: User
    name: str
    job_state: JobState
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    queued_time: _timestamp_pb2.Timestamp
    device_name: str
    device_os_version: str
    project_id: str
    target_model_type: ModelType
    project_slug: str
    def __init__(self, job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., device_name: _Optional[str] = ..., device_os_version: _Optional[str] = ..., project_id: _Optional[str] = ..., target_model_type: _Optional[_Union[ModelType, str]] = ..., project_slug: _Optional[str] = ...) -> None: ...

class InferenceJobSummary(_message.Message):
    __slots__ = ("job_id", "user", "name", "job_state", "device_name", "device_os_version", "creation_time", "start_time", "completion_time", "last_updated_time", "queued_time", "project_id", "target_model_type", "execution_time", "execution_peak_memory", "is_profiling_on", "project_slug")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    IS_PROFILING_ON_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user: User
    name: str
    job_state: JobState
    device_name: str
    device_os_version: str
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    target_model_type: ModelType
    execution_time: int
    execution_peak_memory: Range
    is_profiling_on: bool
    project_slug: str
    def __init__(self, job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., device_name: _Optional[str] = ..., device_os_version: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., target_model_type: _Optional[_Union[ModelType, str]] = ..., execution_time: _Optional[int] = ..., execution_peak_memory: _Optional[_Union[Range, _Mapping]] = ..., is_profiling_on: bool = ..., project_slug: _Optional[str] = ...) -> None: ...

class ProfileJobSummary(_message.Message):
    __slots__ = ("job_id", "user", "name", "job_state", "device_name", "device_os_version", "creation_time", "start_time", "completion_time", "last_updated_time", "execution_time", "execution_peak_memory", "queued_time", "project_id", "target_model_type", "project_slug")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_STATE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATION_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_SLUG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user: User
    name: str
    job_state: JobState
    device_name: str
    device_os_version: str
    creation_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    last_updated_time: _timestamp_pb2.Timestamp
    execution_time: int
    execution_peak_memory: Range
    queued_time: _timestamp_pb2.Timestamp
    project_id: str
    target_model_type: ModelType
    project_slug: str
    def __init__(self, job_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., name: _Optional[str] = ..., job_state: _Optional[_Union[JobState, str]] = ..., device_name: _Optional[str] = ..., device_os_version: _Optional[str] = ..., creation_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_updated_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., execution_time: _Optional[int] = ..., execution_peak_memory: _Optional[_Union[Range, _Mapping]] = ..., queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., target_model_type: _Optional[_Union[ModelType, str]] = ..., project_slug: _Optional[str] = ...) -> None: ...

class JobSummary(_message.Message):
    __slots__ = ("profile_job_summary", "inference_job_summary", "compile_job_summary", "quantize_job_summary", "link_job_summary", "actor_authorization")
    PROFILE_JOB_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_JOB_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    COMPILE_JOB_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    QUANTIZE_JOB_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    LINK_JOB_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    profile_job_summary: ProfileJobSummary
    inference_job_summary: InferenceJobSummary
    compile_job_summary: CompileJobSummary
    quantize_job_summary: QuantizeJobSummary
    link_job_summary: LinkJobSummary
    actor_authorization: JobAuthorization
    def __init__(self, profile_job_summary: _Optional[_Union[ProfileJobSummary, _Mapping]] = ..., inference_job_summary: _Optional[_Union[InferenceJobSummary, _Mapping]] = ..., compile_job_summary: _Optional[_Union[CompileJobSummary, _Mapping]] = ..., quantize_job_summary: _Optional[_Union[QuantizeJobSummary, _Mapping]] = ..., link_job_summary: _Optional[_Union[LinkJobSummary, _Mapping]] = ..., actor_authorization: _Optional[_Union[JobAuthorization, _Mapping]] = ...) -> None: ...

class JobSummaryList(_message.Message):
    __slots__ = ("job_summaries", "total_query_count")
    JOB_SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_QUERY_COUNT_FIELD_NUMBER: _ClassVar[int]
    job_summaries: _containers.RepeatedCompositeFieldContainer[JobSummary]
    total_query_count: int
    def __init__(self, job_summaries: _Optional[_Iterable[_Union[JobSummary, _Mapping]]] = ..., total_query_count: _Optional[int] = ...) -> None: ...

class JobTypeCount(_message.Message):
    __slots__ = ("job_type", "count")
    JOB_TYPE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    job_type: JobType
    count: int
    def __init__(self, job_type: _Optional[_Union[JobType, str]] = ..., count: _Optional[int] = ...) -> None: ...

class JobTypeCounts(_message.Message):
    __slots__ = ("type_counts",)
    TYPE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    type_counts: _containers.RepeatedCompositeFieldContainer[JobTypeCount]
    def __init__(self, type_counts: _Optional[_Iterable[_Union[JobTypeCount, _Mapping]]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("lower", "upper")
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    lower: int
    upper: int
    def __init__(self, lower: _Optional[int] = ..., upper: _Optional[int] = ...) -> None: ...

class ToolVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class RuntimeConfigProperty(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class RuntimeConfig(_message.Message):
    __slots__ = ("name", "properties")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    properties: _containers.RepeatedCompositeFieldContainer[RuntimeConfigProperty]
    def __init__(self, name: _Optional[str] = ..., properties: _Optional[_Iterable[_Union[RuntimeConfigProperty, _Mapping]]] = ...) -> None: ...

class LayerDetail(_message.Message):
    __slots__ = ("name", "compute_unit", "layer_type_name", "id", "delegate_name", "delegate_extra_info", "execution_time", "segment_id", "delegate_reported_ops", "execution_cycles")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_UNIT_FIELD_NUMBER: _ClassVar[int]
    LAYER_TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_NAME_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_EXTRA_INFO_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_REPORTED_OPS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_CYCLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    compute_unit: ComputeUnit
    layer_type_name: str
    id: str
    delegate_name: str
    delegate_extra_info: str
    execution_time: int
    segment_id: str
    delegate_reported_ops: _containers.RepeatedScalarFieldContainer[str]
    execution_cycles: int
    def __init__(self, name: _Optional[str] = ..., compute_unit: _Optional[_Union[ComputeUnit, str]] = ..., layer_type_name: _Optional[str] = ..., id: _Optional[str] = ..., delegate_name: _Optional[str] = ..., delegate_extra_info: _Optional[str] = ..., execution_time: _Optional[int] = ..., segment_id: _Optional[str] = ..., delegate_reported_ops: _Optional[_Iterable[str]] = ..., execution_cycles: _Optional[int] = ...) -> None: ...

class SegmentDetail(_message.Message):
    __slots__ = ("id", "compute_unit", "delegate_name", "delegate_extra_info", "execution_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_UNIT_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_NAME_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_EXTRA_INFO_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    compute_unit: ComputeUnit
    delegate_name: str
    delegate_extra_info: str
    execution_time: int
    def __init__(self, id: _Optional[str] = ..., compute_unit: _Optional[_Union[ComputeUnit, str]] = ..., delegate_name: _Optional[str] = ..., delegate_extra_info: _Optional[str] = ..., execution_time: _Optional[int] = ...) -> None: ...

class ProfileDetail(_message.Message):
    __slots__ = ("execution_time", "peak_memory_usage", "load_time", "layer_details", "major_version", "minor_version", "after_cold_load_peak_memory", "after_compile_peak_memory", "after_execution_peak_memory", "after_warm_load_peak_memory", "before_cold_load_current_memory", "before_cold_load_peak_memory", "before_compile_current_memory", "before_compile_peak_memory", "before_execution_current_memory", "before_execution_peak_memory", "before_warm_load_current_memory", "before_warm_load_peak_memory", "cold_load_time", "compile_time", "warm_load_time", "after_cold_load_current_memory", "after_warm_load_current_memory", "after_compile_current_memory", "after_execution_current_memory", "compile_memory", "cold_load_memory", "warm_load_memory", "execution_memory", "all_compile_times", "all_cold_load_times", "all_warm_load_times", "all_execution_times", "segment_details", "runtime_config", "tool_versions")
    class MemoryUsage(_message.Message):
        __slots__ = ("increase", "peak")
        INCREASE_FIELD_NUMBER: _ClassVar[int]
        PEAK_FIELD_NUMBER: _ClassVar[int]
        increase: Range
        peak: Range
        def __init__(self, increase: _Optional[_Union[Range, _Mapping]] = ..., peak: _Optional[_Union[Range, _Mapping]] = ...) -> None: ...
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_USAGE_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    LAYER_DETAILS_FIELD_NUMBER: _ClassVar[int]
    MAJOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    MINOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_COLD_LOAD_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_COMPILE_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_WARM_LOAD_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_COLD_LOAD_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_COLD_LOAD_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_COMPILE_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_COMPILE_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_EXECUTION_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_EXECUTION_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_WARM_LOAD_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_WARM_LOAD_PEAK_MEMORY_FIELD_NUMBER: _ClassVar[int]
    COLD_LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPILE_TIME_FIELD_NUMBER: _ClassVar[int]
    WARM_LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    AFTER_COLD_LOAD_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_WARM_LOAD_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_COMPILE_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_EXECUTION_CURRENT_MEMORY_FIELD_NUMBER: _ClassVar[int]
    COMPILE_MEMORY_FIELD_NUMBER: _ClassVar[int]
    COLD_LOAD_MEMORY_FIELD_NUMBER: _ClassVar[int]
    WARM_LOAD_MEMORY_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_MEMORY_FIELD_NUMBER: _ClassVar[int]
    ALL_COMPILE_TIMES_FIELD_NUMBER: _ClassVar[int]
    ALL_COLD_LOAD_TIMES_FIELD_NUMBER: _ClassVar[int]
    ALL_WARM_LOAD_TIMES_FIELD_NUMBER: _ClassVar[int]
    ALL_EXECUTION_TIMES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_DETAILS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TOOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    execution_time: int
    peak_memory_usage: int
    load_time: int
    layer_details: _containers.RepeatedCompositeFieldContainer[LayerDetail]
    major_version: int
    minor_version: int
    after_cold_load_peak_memory: int
    after_compile_peak_memory: int
    after_execution_peak_memory: int
    after_warm_load_peak_memory: int
    before_cold_load_current_memory: int
    before_cold_load_peak_memory: int
    before_compile_current_memory: int
    before_compile_peak_memory: int
    before_execution_current_memory: int
    before_execution_peak_memory: int
    before_warm_load_current_memory: int
    before_warm_load_peak_memory: int
    cold_load_time: int
    compile_time: int
    warm_load_time: int
    after_cold_load_current_memory: int
    after_warm_load_current_memory: int
    after_compile_current_memory: int
    after_execution_current_memory: int
    compile_memory: ProfileDetail.MemoryUsage
    cold_load_memory: ProfileDetail.MemoryUsage
    warm_load_memory: ProfileDetail.MemoryUsage
    execution_memory: ProfileDetail.MemoryUsage
    all_compile_times: _containers.RepeatedScalarFieldContainer[int]
    all_cold_load_times: _containers.RepeatedScalarFieldContainer[int]
    all_warm_load_times: _containers.RepeatedScalarFieldContainer[int]
    all_execution_times: _containers.RepeatedScalarFieldContainer[int]
    segment_details: _containers.RepeatedCompositeFieldContainer[SegmentDetail]
    runtime_config: _containers.RepeatedCompositeFieldContainer[RuntimeConfig]
    tool_versions: _containers.RepeatedCompositeFieldContainer[ToolVersion]
    def __init__(self, execution_time: _Optional[int] = ..., peak_memory_usage: _Optional[int] = ..., load_time: _Optional[int] = ..., layer_details: _Optional[_Iterable[_Union[LayerDetail, _Mapping]]] = ..., major_version: _Optional[int] = ..., minor_version: _Optional[int] = ..., after_cold_load_peak_memory: _Optional[int] = ..., after_compile_peak_memory: _Optional[int] = ..., after_execution_peak_memory: _Optional[int] = ..., after_warm_load_peak_memory: _Optional[int] = ..., before_cold_load_current_memory: _Optional[int] = ..., before_cold_load_peak_memory: _Optional[int] = ..., before_compile_current_memory: _Optional[int] = ..., before_compile_peak_memory: _Optional[int] = ..., before_execution_current_memory: _Optional[int] = ..., before_execution_peak_memory: _Optional[int] = ..., before_warm_load_current_memory: _Optional[int] = ..., before_warm_load_peak_memory: _Optional[int] = ..., cold_load_time: _Optional[int] = ..., compile_time: _Optional[int] = ..., warm_load_time: _Optional[int] = ..., after_cold_load_current_memory: _Optional[int] = ..., after_warm_load_current_memory: _Optional[int] = ..., after_compile_current_memory: _Optional[int] = ..., after_execution_current_memory: _Optional[int] = ..., compile_memory: _Optional[_Union[ProfileDetail.MemoryUsage, _Mapping]] = ..., cold_load_memory: _Optional[_Union[ProfileDetail.MemoryUsage, _Mapping]] = ..., warm_load_memory: _Optional[_Union[ProfileDetail.MemoryUsage, _Mapping]] = ..., execution_memory: _Optional[_Union[ProfileDetail.MemoryUsage, _Mapping]] = ..., all_compile_times: _Optional[_Iterable[int]] = ..., all_cold_load_times: _Optional[_Iterable[int]] = ..., all_warm_load_times: _Optional[_Iterable[int]] = ..., all_execution_times: _Optional[_Iterable[int]] = ..., segment_details: _Optional[_Iterable[_Union[SegmentDetail, _Mapping]]] = ..., runtime_config: _Optional[_Iterable[_Union[RuntimeConfig, _Mapping]]] = ..., tool_versions: _Optional[_Iterable[_Union[ToolVersion, _Mapping]]] = ...) -> None: ...

class CompileDetail(_message.Message):
    __slots__ = ("tool_versions",)
    TOOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    tool_versions: _containers.RepeatedCompositeFieldContainer[ToolVersion]
    def __init__(self, tool_versions: _Optional[_Iterable[_Union[ToolVersion, _Mapping]]] = ...) -> None: ...

class LinkDetail(_message.Message):
    __slots__ = ("tool_versions",)
    TOOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    tool_versions: _containers.RepeatedCompositeFieldContainer[ToolVersion]
    def __init__(self, tool_versions: _Optional[_Iterable[_Union[ToolVersion, _Mapping]]] = ...) -> None: ...

class QuantizeDetail(_message.Message):
    __slots__ = ("tool_versions", "psnr")
    class PsnrEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TOOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PSNR_FIELD_NUMBER: _ClassVar[int]
    tool_versions: _containers.RepeatedCompositeFieldContainer[ToolVersion]
    psnr: _containers.ScalarMap[str, float]
    def __init__(self, tool_versions: _Optional[_Iterable[_Union[ToolVersion, _Mapping]]] = ..., psnr: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CompileJobResult(_message.Message):
    __slots__ = ("compile_job_id", "compile_detail")
    COMPILE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    COMPILE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    compile_job_id: str
    compile_detail: CompileDetail
    def __init__(self, compile_job_id: _Optional[str] = ..., compile_detail: _Optional[_Union[CompileDetail, _Mapping]] = ...) -> None: ...

class QuantizeJobResult(_message.Message):
    __slots__ = ("quantize_job_id", "quantize_detail")
    QUANTIZE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTIZE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    quantize_job_id: str
    quantize_detail: QuantizeDetail
    def __init__(self, quantize_job_id: _Optional[str] = ..., quantize_detail: _Optional[_Union[QuantizeDetail, _Mapping]] = ...) -> None: ...

class LinkJobResult(_message.Message):
    __slots__ = ("link_job_id", "link_detail")
    LINK_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LINK_DETAIL_FIELD_NUMBER: _ClassVar[int]
    link_job_id: str
    link_detail: LinkDetail
    def __init__(self, link_job_id: _Optional[str] = ..., link_detail: _Optional[_Union[LinkDetail, _Mapping]] = ...) -> None: ...

class ProfileJobResult(_message.Message):
    __slots__ = ("profile_job_id", "profile")
    PROFILE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile_job_id: str
    profile: ProfileDetail
    def __init__(self, profile_job_id: _Optional[str] = ..., profile: _Optional[_Union[ProfileDetail, _Mapping]] = ...) -> None: ...

class InferenceJobResult(_message.Message):
    __slots__ = ("inference_job_id", "output_dataset_id", "detail")
    INFERENCE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    inference_job_id: str
    output_dataset_id: str
    detail: ProfileDetail
    def __init__(self, inference_job_id: _Optional[str] = ..., output_dataset_id: _Optional[str] = ..., detail: _Optional[_Union[ProfileDetail, _Mapping]] = ...) -> None: ...

class JobResult(_message.Message):
    __slots__ = ("profile_job_result", "inference_job_result", "compile_job_result", "quantize_job_result", "link_job_result")
    PROFILE_JOB_RESULT_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_JOB_RESULT_FIELD_NUMBER: _ClassVar[int]
    COMPILE_JOB_RESULT_FIELD_NUMBER: _ClassVar[int]
    QUANTIZE_JOB_RESULT_FIELD_NUMBER: _ClassVar[int]
    LINK_JOB_RESULT_FIELD_NUMBER: _ClassVar[int]
    profile_job_result: ProfileJobResult
    inference_job_result: InferenceJobResult
    compile_job_result: CompileJobResult
    quantize_job_result: QuantizeJobResult
    link_job_result: LinkJobResult
    def __init__(self, profile_job_result: _Optional[_Union[ProfileJobResult, _Mapping]] = ..., inference_job_result: _Optional[_Union[InferenceJobResult, _Mapping]] = ..., compile_job_result: _Optional[_Union[CompileJobResult, _Mapping]] = ..., quantize_job_result: _Optional[_Union[QuantizeJobResult, _Mapping]] = ..., link_job_result: _Optional[_Union[LinkJobResult, _Mapping]] = ...) -> None: ...
