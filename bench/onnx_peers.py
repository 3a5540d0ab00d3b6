"""Recurrent inference in ONNX Runtime and OpenVINO."""
import numpy

from tensors import relative


def onnx_model(row, tensors):
    """The cell as ONNX's own operator; gates in ONNX's order."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    cell = row.about["cell"]
    W, U, b = (tensors.input(n) for n in ("W", "U", "b"))
    hidden = U.shape[0]
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[cell]

    def reordered(a):
        parts = numpy.split(a, len(order), -1)
        return numpy.ascontiguousarray(numpy.concatenate([parts[i] for i in order], -1))

    second = reordered(tensors.input("c")) if cell == "GRU" else numpy.zeros_like(b)
    weights = {"W": reordered(W).T[None], "R": reordered(U).T[None],
               "B": numpy.concatenate([reordered(b), second])[None]}
    more = {"linear_before_reset": 1} if cell == "GRU" else {}
    batch, steps, inputs = tensors.input("x").shape
    graph = helper.make_graph(
        [helper.make_node(cell, ["X", "W", "R", "B"], ["Y"], hidden_size=hidden, **more)], "cell",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, batch, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [steps, 1, batch, hidden])],
        [numpy_helper.from_array(numpy.ascontiguousarray(v), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def check_time_major(tensors):
    return lambda y: relative(numpy.swapaxes(numpy.asarray(y)[:, 0], 0, 1), tensors.output("y"))


def onnxruntime_cell(row, tensors, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(row, tensors), options,
                                           providers=["CPUExecutionProvider"])
    x = numpy.ascontiguousarray(tensors.input("x").swapaxes(0, 1))
    return lambda: session.run(["Y"], {"X": x})[0], check_time_major(tensors)


def openvino_cell(row, tensors, threads):
    import openvino
    core = openvino.Core()
    model = core.read_model(onnx_model(row, tensors))
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    x = numpy.ascontiguousarray(tensors.input("x").swapaxes(0, 1))

    def work():
        return request.infer({0: x}, share_inputs=True)[compiled.output(0)]
    return work, check_time_major(tensors)
