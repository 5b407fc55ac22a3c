// The Python face of the fibre host (realm.runtime._guest). Checks types,
// calls, and turns faults into the classes of realm.errors.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "fault.h"
#include "guest.h"
#include "host.h"
#include "program.h"
#include "prompt_answers.h"

namespace nb = nanobind;
namespace rg = realm::guest;

namespace {

const char* class_of(rg::FaultKind kind) {
  switch (kind) {
    case rg::FaultKind::kCompile:
      return "GuestCompileError";
    case rg::FaultKind::kContract:
      return "GuestContractError";
    case rg::FaultKind::kLimit:
      return "GuestLimitError";
    default:
      return "NativeError";
  }
}

// A contiguous view of any object with the buffer protocol.
class Buffer {
 public:
  explicit Buffer(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_C_CONTIGUOUS) != 0) throw nb::python_error();
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_{};
};

nb::object to_python(const rg::Mailbox& mailbox, size_t index) {
  const rg::wasmtime_val_t& value = mailbox.arguments[index];
  const bool is_unsigned = (*mailbox.signedness)[index] == 'u';
  switch (value.kind) {
    case rg::kI32:
      return is_unsigned ? nb::cast(static_cast<uint32_t>(value.of.i32)) : nb::cast(value.of.i32);
    case rg::kI64:
      return is_unsigned ? nb::cast(static_cast<uint64_t>(value.of.i64)) : nb::cast(value.of.i64);
    case rg::kF32:
      return nb::cast(value.of.f32);
    default:
      return nb::cast(value.of.f64);
  }
}

// (outcome, payload): the payload is (function number, arguments) of a parked
// guest, the result of a finished one, a message of one that failed, None of
// one that yielded.
// text_room: bytes of the one text that the guest may stream without parking.
nb::tuple poll(rg::Guest& guest, uint64_t text_room) {
  guest.prompt_answers().allow_text(text_room);
  rg::Outcome outcome;
  if (guest.yielded_last()) {
    // It has shown that it computes; a short burst would lose more by giving
    // the interpreter away.
    nb::gil_scoped_release release;
    outcome = guest.poll();
  } else {
    outcome = guest.poll();
  }
  const int number = static_cast<int>(outcome);
  switch (outcome) {
    case rg::Outcome::kParked: {
      const rg::Mailbox& mailbox = guest.mailbox();
      nb::object arguments = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(mailbox.argument_count)));
      for (size_t i = 0; i < mailbox.argument_count; ++i)
        PyTuple_SET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i), to_python(mailbox, i).release().ptr());
      return nb::make_tuple(number, nb::make_tuple(mailbox.function_number, arguments));
    }
    case rg::Outcome::kFinished:
      return nb::make_tuple(number, guest.result());
    case rg::Outcome::kYielded:
      return nb::make_tuple(number, nb::none());
    default:
      return nb::make_tuple(
          number, nb::steal(PyUnicode_DecodeUTF8(
                      guest.message().data(), static_cast<Py_ssize_t>(guest.message().size()), "replace")));
  }
}

// (size, text, bytes): what realm_last_size gives from now on, or -1; the text that was streamed, or None,
// and its bytes. None when nothing was answered on the guest's own stack since the last time.
nb::object news(rg::Guest& guest) {
  rg::PromptAnswers& answers = guest.prompt_answers();
  if (!answers.has_news()) return nb::none();
  const rg::News taken = answers.take_news();
  nb::object text = nb::none();
  if (taken.has_text)
    text = nb::steal(
        PyUnicode_DecodeUTF8(taken.text.data(), static_cast<Py_ssize_t>(taken.text.size()), nullptr));
  return nb::make_tuple(taken.size, text, taken.text.size());
}

nb::list declarations(const std::vector<rg::Declaration>& rows) {
  nb::list written;
  for (const rg::Declaration& row : rows)
    written.append(nb::make_tuple(row.module, row.name, row.kind, row.parameters, row.results));
  return written;
}

}  // namespace

NB_MODULE(_guest, m) {
  m.doc() =
      "Guests on fibres: the wasmtime engine, compiled programs, and "
      "parked host calls.";
  nb::set_leak_warnings(false);
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const rg::Fault& fault) {
      nb::object type = nb::module_::import_("realm.errors").attr(class_of(fault.kind));
      PyErr_SetString(type.ptr(), fault.what());
    }
  });
  m.attr("PARKED") = static_cast<int>(rg::Outcome::kParked);
  m.attr("FINISHED") = static_cast<int>(rg::Outcome::kFinished);
  m.attr("YIELDED") = static_cast<int>(rg::Outcome::kYielded);
  m.attr("TRAPPED") = static_cast<int>(rg::Outcome::kTrapped);
  m.attr("LIMIT") = static_cast<int>(rg::Outcome::kLimit);
  m.attr("CONTRACT") = static_cast<int>(rg::Outcome::kContract);
  m.attr("PARKS") = static_cast<int>(rg::AnsweredAs::kParked);
  m.attr("DECODES_TOKENS") = static_cast<int>(rg::AnsweredAs::kDecodeTokens);
  m.attr("STREAMS_TOKEN") = static_cast<int>(rg::AnsweredAs::kStreamToken);

  nb::class_<rg::Host>(m, "Host")
      .def(
          "__init__",
          [](rg::Host* self, const std::string& library_path, uint32_t guest_count, uint64_t memory_bytes,
             uint32_t table_elements, uint64_t stack_bytes, uint32_t tick_microseconds) {
            new (self) rg::Host(library_path, rg::HostLimits{guest_count, memory_bytes, table_elements,
                                                             stack_bytes, tick_microseconds});
          },
          nb::arg("library_path"), nb::kw_only(), nb::arg("guest_count"), nb::arg("memory_bytes"),
          nb::arg("table_elements"), nb::arg("stack_bytes"), nb::arg("tick_microseconds"))
      .def_prop_ro("pooled", &rg::Host::pooled)
      .def("wat_to_wasm", [](const rg::Host& host, const std::string& source) {
        rg::wasm_byte_vec_t bytes{0, nullptr};
        if (auto* error = host.api.wasmtime_wat2wasm(source.data(), source.size(), &bytes))
          throw rg::Fault(rg::FaultKind::kCompile, host.api.take_message(error));
        nb::bytes written(bytes.data, bytes.size);
        host.api.wasm_byte_vec_delete(&bytes);
        return written;
      });

  nb::class_<rg::Program>(m, "Program")
      .def(
          "__init__",
          [](rg::Program* self, std::shared_ptr<rg::Host> host, nb::bytes wasm) {
            const auto* data = reinterpret_cast<const uint8_t*>(wasm.c_str());
            const size_t size = wasm.size();
            nb::gil_scoped_release release;
            new (self) rg::Program(std::move(host), rg::Form::kWasm, data, size);
          },
          nb::arg("host"), nb::arg("wasm"))
      .def_static(
          "deserialize",
          [](std::shared_ptr<rg::Host> host, nb::bytes code) {
            return std::make_shared<rg::Program>(std::move(host), rg::Form::kNativeCode,
                                                 reinterpret_cast<const uint8_t*>(code.c_str()), code.size());
          },
          nb::arg("host"), nb::arg("code"))
      .def("serialize",
           [](const rg::Program& self) {
             const std::string code = self.serialize();
             return nb::bytes(code.data(), code.size());
           })
      .def_prop_ro("imports", [](const rg::Program& self) { return declarations(self.imports); })
      .def_prop_ro("exports", [](const rg::Program& self) { return declarations(self.exports); })
      .def_ro("memory_is_64", &rg::Program::memory_is_64)
      .def_prop_ro("memory_pages",
                   [](const rg::Program& self) {
                     const int64_t maximum = self.memory_maximum_pages;
                     return nb::make_tuple(self.memory_minimum_pages,
                                           maximum < 0 ? nb::none() : nb::object(nb::cast(maximum)));
                   })
      .def(
          "link",
          [](rg::Program& self, const std::vector<int32_t>& function_numbers,
             const std::vector<std::string>& signedness, const std::vector<int>& answered_as) {
            std::vector<rg::AnsweredAs> kinds;
            for (const int each : answered_as) kinds.push_back(static_cast<rg::AnsweredAs>(each));
            self.link(function_numbers, signedness, kinds);
          },
          nb::arg("function_numbers"), nb::arg("signedness"), nb::arg("answered_as") = std::vector<int>());

  nb::class_<rg::TokenTable>(m, "TokenTable")
      .def(nb::init<size_t>(), nb::arg("capacity"))
      .def(
          "learn",
          [](rg::TokenTable& self, uint32_t token, nb::bytes bytes) {
            self.learn(token, std::string(bytes.c_str(), bytes.size()));
          },
          nb::arg("token"), nb::arg("bytes"))
      .def(
          "find",
          [](const rg::TokenTable& self, uint32_t token) -> nb::object {
            std::string bytes;
            if (!self.find(token, &bytes)) return nb::none();
            return nb::bytes(bytes.data(), bytes.size());
          },
          nb::arg("token"));

  nb::class_<rg::Guest>(m, "Guest")
      .def(
          "__init__",
          [](rg::Guest* self, std::shared_ptr<rg::Program> program, nb::bytes request, uint64_t memory_bytes,
             uint64_t slice_ticks, double compute_seconds, double wall_seconds, int32_t abi_version,
             nb::object older_form) {
            if (!(compute_seconds > 0 && compute_seconds < 1e9 && wall_seconds > 0 && wall_seconds < 1e9))
              throw rg::Fault(rg::FaultKind::kNative, "compute_seconds and wall_seconds must be in (0, 1e9)");
            const rg::GuestLimits limits{memory_bytes, slice_ticks,
                                         static_cast<uint64_t>(compute_seconds * 1e9),
                                         static_cast<uint64_t>(wall_seconds * 1e9)};
            rg::OlderForm older{};
            if (!older_form.is_none()) {
              older.prompt_size = nb::cast<uint64_t>(older_form[0]);
              older.options_offset = nb::cast<uint64_t>(older_form[1]);
              older.model_id = nb::cast<int32_t>(older_form[2]);
              older.text_limit = nb::cast<uint64_t>(older_form[3]);
            }
            new (self) rg::Guest(std::move(program), std::string(request.c_str(), request.size()), limits,
                                 abi_version, older_form.is_none() ? nullptr : &older);
          },
          nb::arg("program"), nb::arg("request"), nb::kw_only(), nb::arg("memory_bytes"),
          nb::arg("slice_ticks"), nb::arg("compute_seconds"), nb::arg("wall_seconds"), nb::arg("abi_version"),
          nb::arg("older_form") = nb::none())
      .def_prop_ro("text",
                   [](const rg::Guest& self) { return nb::bytes(self.text().data(), self.text().size()); })
      .def("poll", &poll, nb::arg("text_room") = 0)
      .def_prop_ro("news", &news)
      .def(
          "know_tokens",
          [](rg::Guest& self, int32_t model_id, std::shared_ptr<rg::TokenTable> table, uint64_t count_limit) {
            self.prompt_answers().know_tokens(model_id, std::move(table), count_limit);
          },
          nb::arg("model_id"), nb::arg("table"), nb::arg("count_limit"))
      .def(
          "forget_tokens",
          [](rg::Guest& self, int32_t model_id) { self.prompt_answers().forget_tokens(model_id); },
          nb::arg("model_id"))
      .def("resume", &rg::Guest::resume, nb::arg("answer"))
      .def("contains", &rg::Guest::contains, nb::arg("pointer"), nb::arg("length"))
      .def(
          "read",
          [](const rg::Guest& self, uint64_t pointer, uint64_t length) {
            const uint8_t* data = self.at(pointer, length);
            return nb::bytes(reinterpret_cast<const char*>(data), length);
          },
          nb::arg("pointer"), nb::arg("length"))
      .def(
          "write",
          [](const rg::Guest& self, uint64_t pointer, nb::object data) {
            const Buffer buffer(data);
            uint8_t* target = self.at(pointer, buffer.size());
            if (buffer.size() != 0) std::memcpy(target, buffer.data(), buffer.size());
          },
          nb::arg("pointer"), nb::arg("data"))
      .def_prop_ro("memory_bytes", &rg::Guest::memory_bytes)
      .def_prop_ro("compute_seconds", [](const rg::Guest& self) {
        return static_cast<double>(self.compute_nanoseconds()) * 1e-9;
      });
}
