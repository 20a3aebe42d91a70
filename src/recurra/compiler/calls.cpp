// Calls of kernels from Python with as little between as possible: what the modules `words`, `binding` and `stream` do
// in Python, done natively where Python's headers are. Everything is handed out as built-in functions; what they refer
// to lives in capsules, and as long as they do.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

// A reference that is given back.
class Ref {
  public:
    Ref(PyObject* owned = nullptr) : object(owned) {}
    Ref(Ref&& other) noexcept : object(other.object) { other.object = nullptr; }
    Ref& operator=(Ref&& other) noexcept {
        std::swap(object, other.object);
        return *this;
    }
    ~Ref() { Py_XDECREF(object); }
    static Ref to(PyObject* borrowed) { return Ref(Py_XNewRef(borrowed)); }

    PyObject* get() const { return object; }
    PyObject* release() {
        PyObject* given = object;
        object = nullptr;
        return given;
    }
    explicit operator bool() const { return object; }

  private:
    PyObject* object;
};

struct Names {
    PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
    PyObject* dtype = PyUnicode_InternFromString("dtype");
    PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
    PyObject* is_cpu = PyUnicode_InternFromString("is_cpu");
    PyObject* is_neg = PyUnicode_InternFromString("is_neg");
    PyObject* layout = PyUnicode_InternFromString("layout");
    PyObject* shape = PyUnicode_InternFromString("shape");
    PyObject* step = PyUnicode_InternFromString("step");
    PyObject* version = PyUnicode_InternFromString("_version");
};

const Names& names() {
    static const Names found;
    return found;
}

// What is asked for is yes, no, or an error of Python's.
enum Answer { ERROR = -1, NO = 0, YES = 1 };

#define RECURRA_ASK(question)                       \
    if (const Answer answer = (question); answer != YES) return answer

Answer is(PyObject* object, PyObject* name, PyObject* expected) {
    const Ref found(PyObject_GetAttr(object, name));
    return !found ? ERROR : found.get() == expected ? YES : NO;
}

Answer equals(PyObject* object, PyObject* name, PyObject* expected) {
    const Ref found(PyObject_GetAttr(object, name));
    return found ? (Answer)PyObject_RichCompareBool(found.get(), expected, Py_EQ) : ERROR;
}

Answer says(PyObject* object, PyObject* name, PyObject* expected) {
    const Ref found(PyObject_CallMethodNoArgs(object, name));
    return !found ? ERROR : found.get() == expected ? YES : NO;
}

Answer returns(PyObject* function, PyObject* expected) {
    const Ref found(PyObject_CallNoArgs(function));
    return !found ? ERROR : found.get() == expected ? YES : NO;
}

bool number(Ref found, int64_t& to) {
    if (!found) return false;
    to = PyLong_AsLongLong(found.get());
    return to != -1 || !PyErr_Occurred();
}

bool address(PyObject* tensor, int64_t& to) {
    to = 0;
    return tensor == Py_None || number(PyObject_CallMethodNoArgs(tensor, names().data_ptr), to);
}

std::vector<int64_t> numbers(PyObject* buffer) {
    Py_buffer view;
    std::vector<int64_t> found;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) return found;
    found.resize(view.len / sizeof(int64_t));
    std::memcpy(found.data(), view.buf, found.size() * sizeof(int64_t));
    PyBuffer_Release(&view);
    return found;
}

// Numbers for the time of a call; few of them need no memory.
class Numbers {
  public:
    explicit Numbers(size_t count) : at(count <= FEW ? few : new int64_t[count]) {}
    explicit Numbers(const std::vector<int64_t>& from) : Numbers(from.size()) {
        std::memcpy(at, from.data(), from.size() * sizeof(int64_t));
    }
    Numbers(const Numbers&) = delete;
    ~Numbers() {
        if (at != few) delete[] at;
    }
    int64_t& operator[](size_t k) { return at[k]; }
    const int64_t* data() const { return at; }

  private:
    static constexpr size_t FEW = 192;
    int64_t* at;
    int64_t few[FEW];
};

using Kernel = void (*)(const int64_t*);

// Others may run Python meanwhile, where it lasts long enough for them to gain by it.
void run(Kernel kernel, const int64_t* words, bool alone) {
    if (alone) return kernel(words);
    PyThreadState* state = PyEval_SaveThread();
    kernel(words);
    PyEval_RestoreThread(state);
}

// A built-in function that is handed what it refers to, and frees that when it goes.
template <class T, PyObject* (*Call)(T&, PyObject* const*, Py_ssize_t)> PyObject* function(T* made, const char* name) {
    static PyMethodDef definition{
        name,
        (PyCFunction)(void (*)(void))(+[](PyObject* self, PyObject* const* args, Py_ssize_t count) -> PyObject* {
            return Call(*(T*)PyCapsule_GetPointer(self, nullptr), args, count);
        }),
        METH_FASTCALL, nullptr};
    const Ref capsule(PyCapsule_New(made, nullptr, [](PyObject* c) { delete (T*)PyCapsule_GetPointer(c, nullptr); }));
    if (!capsule) {
        delete made;
        return nullptr;
    }
    return PyCFunction_NewEx(&definition, capsule.get(), nullptr);
}

Answer exactly(Py_ssize_t count, Py_ssize_t expected) {
    if (count == expected) return YES;
    PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", expected, count);
    return ERROR;
}

// Words of which some are addresses: (word, number of the address, bytes after it).
struct Caller {
    std::vector<int64_t> words, moves;
    Kernel kernel;
    bool alone;
    Py_ssize_t most = 0;  // how many tensors the addresses are of

    Caller(std::vector<int64_t> w, std::vector<int64_t> m, Kernel k, bool a) : words(w), moves(m), kernel(k), alone(a) {
        for (size_t n = 1; n < moves.size(); n += 3) most = std::max(most, (Py_ssize_t)moves[n] + 1);
    }
};

PyObject* call_kernel(Caller& c, PyObject* const* args, Py_ssize_t count) {
    if (exactly(count, 1) != YES) return nullptr;
    const Ref tensors(PySequence_Fast(args[0], "expected a list of tensors"));
    if (!tensors) return nullptr;
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(tensors.get());
    Numbers bases(n), words(c.words);
    for (Py_ssize_t k = 0; k < n; k++)
        if (!address(PySequence_Fast_GET_ITEM(tensors.get(), k), bases[k])) return nullptr;
    if (n < c.most) return PyErr_Format(PyExc_IndexError, "expected %zd tensors or more, got %zd", c.most, n);
    for (size_t k = 0; k < c.moves.size(); k += 3) words[c.moves[k]] = bases[c.moves[k + 1]] + c.moves[k + 2];
    run(c.kernel, words.data(), c.alone);
    Py_RETURN_NONE;
}

// What functions are to return; what some modules hold, by identity; how the steps of their cells are to be defined; and
// what kinds of tensors these own.
struct Guard {
    struct Table {
        Ref dict;
        Py_ssize_t size;
        std::vector<std::pair<Ref, Ref>> entries;
    };
    struct Form {
        Ref tensor, dtype, shape;
    };
    struct Mode {
        Ref function, arguments, usual;
    };
    std::vector<Mode> modes;
    std::vector<std::pair<Ref, Ref>> modules;  // weak references, types
    std::vector<Table> tables;
    std::vector<std::pair<Ref, Ref>> steps;  // types, what they call `step`
    std::vector<Form> forms;
    Ref strided;
};

Answer holds(const Guard& g) {
    for (const auto& [function, arguments, usual] : g.modes) {
        const Ref found(PyObject_Vectorcall(function.get(), &PyTuple_GET_ITEM(arguments.get(), 0),
                                            PyTuple_GET_SIZE(arguments.get()), nullptr));
        if (!found) return ERROR;
        if (found.get() != usual.get()) RECURRA_ASK((Answer)PyObject_RichCompareBool(found.get(), usual.get(), Py_EQ));
    }
    for (const auto& [module, kind] : g.modules) {
        const Ref found(PyObject_CallNoArgs(module.get()));
        if (!found) return ERROR;
        if ((PyObject*)Py_TYPE(found.get()) != kind.get()) return NO;
    }
    for (const auto& table : g.tables) {
        if (PyDict_GET_SIZE(table.dict.get()) != table.size) return NO;
        for (const auto& [key, value] : table.entries)
            if (PyDict_GetItemWithError(table.dict.get(), key.get()) != value.get()) return PyErr_Occurred() ? ERROR : NO;
    }
    for (const auto& [kind, step] : g.steps) RECURRA_ASK(is(kind.get(), names().step, step.get()));
    for (const auto& [tensor, dtype, shape] : g.forms) {
        RECURRA_ASK(is(tensor.get(), names().dtype, dtype.get()));
        RECURRA_ASK(equals(tensor.get(), names().shape, shape.get()));
        RECURRA_ASK(is(tensor.get(), names().is_cpu, Py_True));
        RECURRA_ASK(is(tensor.get(), names().layout, g.strided.get()));
        RECURRA_ASK(says(tensor.get(), names().is_neg, Py_False));
    }
    return YES;
}

PyObject* call_guard(Guard& g, PyObject* const*, Py_ssize_t count) {
    const Answer answer = exactly(count, 0) == YES ? holds(g) : ERROR;
    return answer == ERROR ? nullptr : PyBool_FromLong(answer == YES);
}

// Single steps through layers, each with the words of its kernel's call.
struct Stream {
    struct Input {
        Ref shape, dtype;
    };
    struct State {
        int64_t port, end, size, is_output;  // where in the words; bytes of a number; whether it is what the layer returns
    };
    struct Layer {
        std::vector<int64_t> words;
        int64_t input, result, scratch;  // where in the words, 0 for nowhere
        std::vector<State> states;
        Ref output, working;  // like which new ones are made
        Kernel kernel;
        bool alone;
    };
    Ref guard, tensor, recording, epoch, empty_like;
    Input x;
    std::vector<Input> states;
    std::vector<Ref> zeros;
    std::vector<int64_t> strides;  // bytes from layer to layer of each state
    std::vector<Ref> weights;
    std::vector<int64_t> known;  // what tells this state of the weights from another
    std::vector<Layer> layers;
};

Answer fits(const Stream& s, PyObject* t, const Stream::Input& form) {
    if ((PyObject*)Py_TYPE(t) != s.tensor.get()) return NO;
    RECURRA_ASK(equals(t, names().shape, form.shape.get()));
    RECURRA_ASK(is(t, names().dtype, form.dtype.get()));
    RECURRA_ASK(is(t, names().is_cpu, Py_True));
    RECURRA_ASK(says(t, names().is_contiguous, Py_True));
    return says(t, names().is_neg, Py_False);
}

Answer same_weights(const Stream& s) {
    int64_t found;
    if (!number(PyObject_CallNoArgs(s.epoch.get()), found)) return ERROR;
    if (found != s.known[0]) return NO;
    for (size_t k = 0; k < s.weights.size(); k++) {
        if (!number(PyObject_GetAttr(s.weights[k].get(), names().version), found)) return ERROR;
        if (found != s.known[1 + k]) return NO;
        if (!address(s.weights[k].get(), found)) return ERROR;
        if (found != s.known[1 + s.weights.size() + k]) return NO;
    }
    return YES;
}

Answer takes(const Stream& s, PyObject* x, const std::vector<PyObject*>& given) {
    RECURRA_ASK(fits(s, x, s.x));
    if (given.size() != s.states.size()) return NO;
    for (size_t k = 0; k < given.size(); k++)
        if (given[k] != s.zeros[k].get()) RECURRA_ASK(fits(s, given[k], s.states[k]));
    RECURRA_ASK(returns(s.recording.get(), Py_False));
    const Ref held(PyObject_CallNoArgs(s.guard.get()));
    if (held.get() != Py_True) return held ? NO : ERROR;
    return same_weights(s);
}

// x, state -> (y, state), or None where this is not the call that was prepared.
PyObject* call_stream(Stream& s, PyObject* const* args, Py_ssize_t count) {
    if (exactly(count, 2) != YES) return nullptr;
    std::vector<PyObject*> given;
    if (args[1] == Py_None)
        for (const Ref& zeros : s.zeros) given.push_back(zeros.get());
    else if (PyTuple_Check(args[1]))
        given.assign(&PyTuple_GET_ITEM(args[1], 0), &PyTuple_GET_ITEM(args[1], 0) + PyTuple_GET_SIZE(args[1]));
    else given.push_back(args[1]);
    const Answer answer = takes(s, args[0], given);
    if (answer == ERROR) return nullptr;
    if (answer == NO) Py_RETURN_NONE;

    Numbers before(given.size()), after(given.size());
    Ref state(PyTuple_New(given.size()));
    for (size_t k = 0; k < given.size(); k++) {
        PyObject* made = PyObject_CallOneArg(s.empty_like.get(), s.zeros[k].get());
        if (!made) return nullptr;
        PyTuple_SET_ITEM(state.get(), k, made);
        if (!address(given[k], before[k]) || !address(made, after[k])) return nullptr;
    }
    Ref x = Ref::to(args[0]);
    for (const auto& layer : s.layers) {
        Numbers words(layer.words);
        Ref y(PyObject_CallOneArg(s.empty_like.get(), layer.output.get())), working;
        int64_t output;
        if (!y || !address(x.get(), words[layer.input]) || !address(y.get(), output)) return nullptr;
        if (layer.scratch) {
            working = Ref(PyObject_CallOneArg(s.empty_like.get(), layer.working.get()));
            if (!working || !address(working.get(), words[layer.scratch])) return nullptr;
        }
        for (size_t k = 0; k < given.size(); k++) {
            const auto& to = layer.states[k];
            words[to.port] = words[to.end] = before[k];
            words[to.port + 1] = ((to.is_output ? output : after[k]) - before[k]) / to.size;
            if (to.is_output) words[to.end + 1] = after[k];
            before[k] += s.strides[k];
            after[k] += s.strides[k];
        }
        if (layer.result) words[layer.result] = output;
        run(layer.kernel, words.data(), layer.alone);
        x = std::move(y);
    }
    PyObject* whole = given.size() == 1 ? PyTuple_GET_ITEM(state.get(), 0) : state.get();
    return PyTuple_Pack(2, x.get(), whole);
}

// The n-th of a tuple.
PyObject* at(PyObject* tuple, Py_ssize_t n) { return PyTuple_GET_ITEM(tuple, n); }

template <class T, class Make> std::vector<T> each(PyObject* list, const Make& make) {
    std::vector<T> found;
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(list); k++) found.push_back(make(PyList_GET_ITEM(list, k)));
    return found;
}

std::vector<std::pair<Ref, Ref>> pairs(PyObject* list) {
    return each<std::pair<Ref, Ref>>(list, [](PyObject* p) { return std::make_pair(Ref::to(at(p, 0)), Ref::to(at(p, 1))); });
}

Stream::Layer layer(PyObject* p) {
    return {numbers(at(p, 0)),
            PyLong_AsLongLong(at(p, 1)),
            PyLong_AsLongLong(at(p, 2)),
            PyLong_AsLongLong(at(p, 3)),
            each<Stream::State>(at(p, 4), [](PyObject* q) {
                return Stream::State{PyLong_AsLongLong(at(q, 0)), PyLong_AsLongLong(at(q, 1)), PyLong_AsLongLong(at(q, 2)),
                                     PyLong_AsLongLong(at(q, 3))};
            }),
            Ref::to(at(p, 5)),
            Ref::to(at(p, 6)),
            (Kernel)PyLong_AsVoidPtr(at(p, 7)),
            at(p, 8) == Py_True};
}

Stream::Input input(PyObject* p) { return {Ref::to(at(p, 0)), Ref::to(at(p, 1))}; }

}  // namespace

// What Python calls once for every function that it is to have; arguments as `native_calls` hands them over.
extern "C" {

PyObject* make_caller(PyObject* words, PyObject* moves, PyObject* kernel, PyObject* alone) {
    return function<Caller, call_kernel>(
        new Caller{numbers(words), numbers(moves), (Kernel)PyLong_AsVoidPtr(kernel), alone == Py_True}, "call_kernel");
}

PyObject* make_guard(PyObject* modes, PyObject* modules, PyObject* tables, PyObject* steps, PyObject* forms,
                     PyObject* strided) {
    auto* made = new Guard{
        each<Guard::Mode>(modes, [](PyObject* m) {
            return Guard::Mode{Ref::to(at(m, 0)), Ref::to(at(m, 1)), Ref::to(at(m, 2))};
        }),
        pairs(modules),
        each<Guard::Table>(tables, [](PyObject* t) {
            return Guard::Table{Ref::to(at(t, 0)), (Py_ssize_t)PyLong_AsLongLong(at(t, 1)), pairs(at(t, 2))};
        }),
        pairs(steps),
        each<Guard::Form>(forms, [](PyObject* f) {
            return Guard::Form{Ref::to(at(f, 0)), Ref::to(at(f, 1)), Ref::to(at(f, 2))};
        }),
        Ref::to(strided)};
    return function<Guard, call_guard>(made, "call_guard");
}

PyObject* make_stream(PyObject* tools, PyObject* x, PyObject* states, PyObject* zeros, PyObject* strides, PyObject* weights,
                      PyObject* known, PyObject* layers) {
    const auto keep = [](PyObject* o) { return Ref::to(o); };
    auto* made = new Stream{
        Ref::to(at(tools, 0)), Ref::to(at(tools, 1)), Ref::to(at(tools, 2)), Ref::to(at(tools, 3)), Ref::to(at(tools, 4)),
        input(x), each<Stream::Input>(states, input), each<Ref>(zeros, keep), numbers(strides),
        each<Ref>(weights, keep), numbers(known), each<Stream::Layer>(layers, layer)};
    return function<Stream, call_stream>(made, "call_stream");
}
}
