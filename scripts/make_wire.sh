#!/bin/sh
# Regenerates the protobuf modules from workbench.proto, in an environment thrown away afterwards.
# This compiler is the newest whose code still loads on protobuf 6.31.1, the only release that
# both the official client and onnx accept.
set -eu
cd "$(dirname "$0")/.."
wire=src/qdq/api/wire
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet grpcio-tools==1.76.0 protobuf==6.31.1
"$tools/bin/python" -m grpc_tools.protoc --proto_path=src --python_out=src --pyi_out=src \
    "$wire/workbench.proto"
(cd "$wire" && sha256sum workbench.proto workbench_pb2.py workbench_pb2.pyi >workbench.sha256)
