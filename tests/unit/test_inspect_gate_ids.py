from aprqa_ci.gates import gate_catalogue, inspect_gate_ids
from aprqa_ci.vocabulary import Gateway, ModelFormat


def test_each_format_has_the_gates_that_its_files_can_answer() -> None:
    every = tuple(gate.id for gate in gate_catalogue().values() if gate.gateway is Gateway.G0)
    assert inspect_gate_ids(ModelFormat.GGUF) == every
    assert set(every) - set(inspect_gate_ids(ModelFormat.SAFETENSORS)) == {"G0-METADATA-001"}
    # What the apr tool says of the tensors; the rest of the file is not read.
    assert inspect_gate_ids(ModelFormat.APR) == (
        "G0-DIGEST-001",
        "G0-INTEGRITY-FINITE",
        "G0-TENSOR-001",
    )
