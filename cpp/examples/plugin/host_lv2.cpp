// An LV2 host as far as this plug-in needs one. It does not read the Turtle files, which lv2apply does in the tests.
#include "hosts.hpp"
#include "lv2_ports.hpp"
#include "quiet.hpp"

#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/core/lv2.h>
#include <lv2/log/log.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace host {
namespace {

using namespace amp::lv2;

constexpr std::uint32_t kAtoms = 8192;  // bytes of an atom port: rsz:minimumSize
constexpr std::string_view kAbstract = "abstract:";

LV2_URID map_uri(void* handle, const char* uri) {
  auto& uris = *static_cast<std::vector<std::string>*>(handle);
  const auto found = std::find(uris.begin(), uris.end(), uri);
  if (found != uris.end()) return static_cast<LV2_URID>(found - uris.begin() + 1);
  uris.push_back(uri);
  return static_cast<LV2_URID>(uris.size());
}

char* new_text(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

class Lv2 final : public Plugin {
 public:
  Lv2(const LV2_Descriptor* descriptor, const std::string& bundle, int channel_count, double rate)
      : Plugin(channel_count), descriptor_(descriptor) {
    const LV2_Feature urid{LV2_URID__map, &map_}, worker{LV2_WORKER__schedule, &schedule_}, log{LV2_LOG__log, &log_};
    const LV2_Feature* const features[] = {&urid, &worker, &log, nullptr};
    lv2_atom_forge_init(&forge_, &map_);
    set_ = id(LV2_PATCH__Set), property_ = id(LV2_PATCH__property), value_ = id(LV2_PATCH__value), model_ = id(kModelUri);
    path_ = id(LV2_ATOM__Path);
    handle_ = descriptor->instantiate(descriptor, rate, bundle.c_str(), features);
    if (handle_ == nullptr) throw std::runtime_error("the plug-in cannot be instantiated");
    for (unsigned p = 0; p < amp::parameter_count; ++p) {
      controls_[p] = amp::kParameters[p].usual;
      descriptor->connect_port(handle_, first_parameter + p, &controls_[p]);
    }
    descriptor->connect_port(handle_, amp::lv2::latency, &latency_);
    descriptor->connect_port(handle_, control, to_plugin_.data());
    descriptor->connect_port(handle_, notify, from_plugin_.data());
    state_ = static_cast<const LV2_State_Interface*>(descriptor->extension_data(LV2_STATE__interface));
    work_ = static_cast<const LV2_Worker_Interface*>(descriptor->extension_data(LV2_WORKER__interface));
    if (state_ == nullptr || work_ == nullptr) throw std::runtime_error("the plug-in has no state or no worker");
  }
  ~Lv2() override {
    deactivate();
    descriptor_->cleanup(handle_);
  }

  void activate() override {
    if (!std::exchange(active_, true) && descriptor_->activate != nullptr) descriptor_->activate(handle_);
  }
  void deactivate() override {
    if (std::exchange(active_, false) && descriptor_->deactivate != nullptr) descriptor_->deactivate(handle_);
  }
  void load(const std::string& path) override {
    if (!wanted_.push(path.c_str(), path.size() + 1)) throw std::runtime_error("too many models are waiting");
  }
  void attend() override {
    while (questions_.pop([&](const char* data, std::size_t size) {
      work_->work(
          handle_,
          [](LV2_Worker_Respond_Handle me, std::uint32_t answer_size, const void* answer) {
            return static_cast<Lv2*>(me)->answers_.push(answer, answer_size) ? LV2_WORKER_SUCCESS : LV2_WORKER_ERR_NO_SPACE;
          },
          this, static_cast<std::uint32_t>(size), data);
    })) {
    }
    shown_.pop([&](const char* data, std::size_t) { said_model_ = data; });
  }

  // The values of the ports, which a host keeps itself, and what the plug-in stores.
  std::string save() override {
    std::string state(reinterpret_cast<const char*>(controls_.data()), sizeof controls_);
    const LV2_State_Map_Path paths{this, abstract_path, absolute_path};
    const LV2_Feature map_path{LV2_STATE__mapPath, const_cast<LV2_State_Map_Path*>(&paths)};
    const LV2_Feature* const features[] = {&map_path, nullptr};
    stored_.clear();
    state_->save(
        handle_,
        [](LV2_State_Handle me, std::uint32_t key, const void* value, std::size_t size, std::uint32_t type, std::uint32_t) {
          auto& self = *static_cast<Lv2*>(me);
          if (key != self.model_ || type != self.path_) return LV2_STATE_ERR_BAD_TYPE;
          self.stored_.assign(static_cast<const char*>(value), size - 1);
          return LV2_STATE_SUCCESS;
        },
        this, 0, features);
    if (!stored_.starts_with(kAbstract)) throw std::runtime_error("the state holds a path that the host has not been asked for");
    return state + stored_;
  }
  void restore(const std::string& state) override {
    std::memcpy(controls_.data(), state.data(), sizeof controls_);
    stored_ = state.substr(sizeof controls_);
    const LV2_State_Map_Path paths{this, abstract_path, absolute_path};
    const LV2_Feature map_path{LV2_STATE__mapPath, const_cast<LV2_State_Map_Path*>(&paths)};
    const LV2_Feature* const features[] = {&map_path, nullptr};
    state_->restore(
        handle_,
        [](LV2_State_Handle me, std::uint32_t key, std::size_t* size, std::uint32_t* type, std::uint32_t* flags) -> const void* {
          auto& self = *static_cast<Lv2*>(me);
          if (key != self.model_) return nullptr;
          *size = self.stored_.size() + 1;
          *type = self.path_;
          *flags = LV2_STATE_IS_POD;
          return self.stored_.c_str();
        },
        this, 0, features);
  }
  int latency() override { return static_cast<int>(latency_); }
  std::string model() override { return said_model_; }

  void set(amp::Parameter parameter, float value) noexcept override { controls_[parameter] = value; }
  void process(const float* const* in, float* const* out, int frames) noexcept override {
    lv2_atom_forge_set_buffer(&forge_, reinterpret_cast<std::uint8_t*>(to_plugin_.data()), kAtoms);
    LV2_Atom_Forge_Frame sequence, object;
    lv2_atom_forge_sequence_head(&forge_, &sequence, 0);
    wanted_.pop([&](const char* data, std::size_t size) {
      lv2_atom_forge_frame_time(&forge_, 0);
      lv2_atom_forge_object(&forge_, &object, 0, set_);
      lv2_atom_forge_key(&forge_, property_);
      lv2_atom_forge_urid(&forge_, model_);
      lv2_atom_forge_key(&forge_, value_);
      lv2_atom_forge_path(&forge_, data, static_cast<std::uint32_t>(size - 1));
      lv2_atom_forge_pop(&forge_, &object);
    });
    lv2_atom_forge_pop(&forge_, &sequence);
    *reinterpret_cast<LV2_Atom*>(from_plugin_.data()) = {kAtoms, 0};
    for (int c = 0; c < channels; ++c) {
      descriptor_->connect_port(handle_, first_audio + static_cast<unsigned>(c), const_cast<float*>(in[c]));
      descriptor_->connect_port(handle_, first_audio + static_cast<unsigned>(channels + c), out[c]);
    }
    {
      const quiet::Quiet quiet;
      descriptor_->run(handle_, static_cast<std::uint32_t>(frames));
      answers_.pop(
          [&](const char* data, std::size_t size) { work_->work_response(handle_, static_cast<std::uint32_t>(size), data); });
    }
    const auto* told_now = reinterpret_cast<const LV2_Atom_Sequence*>(from_plugin_.data());
    if (told_now->atom.type != forge_.Sequence) return;
    LV2_ATOM_SEQUENCE_FOREACH(told_now, event) {
      const LV2_Atom* value = nullptr;
      lv2_atom_object_get(reinterpret_cast<const LV2_Atom_Object*>(&event->body), value_, &value, 0);
      if (value != nullptr) shown_.push(value + 1, value->size);
    }
  }

 private:
  LV2_URID id(const char* uri) { return map_uri(&uris_, uri); }

  static LV2_Worker_Status schedule(LV2_Worker_Schedule_Handle me, std::uint32_t size, const void* data) {
    return static_cast<Lv2*>(me)->questions_.push(data, size) ? LV2_WORKER_SUCCESS : LV2_WORKER_ERR_NO_SPACE;
  }
  static int log_arguments(LV2_Log_Handle me, LV2_URID, const char* format, std::va_list arguments) {
    char text[2000];
    const int size = std::vsnprintf(text, sizeof text, format, arguments);
    std::string& line = static_cast<Lv2*>(me)->told.emplace_back(text);
    if (line.ends_with('\n')) line.pop_back();
    return size;
  }
  static int log_text(LV2_Log_Handle me, LV2_URID type, const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    const int size = log_arguments(me, type, format, arguments);
    va_end(arguments);
    return size;
  }
  static char* abstract_path(LV2_State_Map_Path_Handle, const char* path) { return new_text(std::string(kAbstract) + path); }
  static char* absolute_path(LV2_State_Map_Path_Handle, const char* path) {
    return new_text(std::string_view(path).starts_with(kAbstract) ? path + kAbstract.size() : path);
  }

  const LV2_Descriptor* descriptor_;
  LV2_Handle handle_ = nullptr;
  const LV2_State_Interface* state_ = nullptr;
  const LV2_Worker_Interface* work_ = nullptr;
  std::vector<std::string> uris_;
  LV2_URID_Map map_{&uris_, map_uri};
  LV2_Worker_Schedule schedule_{this, schedule};
  LV2_Log_Log log_{this, log_text, log_arguments};
  LV2_Atom_Forge forge_{};
  LV2_URID set_ = 0, property_ = 0, value_ = 0, model_ = 0, path_ = 0;
  std::array<float, amp::parameter_count> controls_{};
  float latency_ = 0;
  alignas(8) std::array<char, kAtoms> to_plugin_{}, from_plugin_{};
  Ring wanted_, questions_, answers_, shown_;
  std::string stored_, said_model_;
  bool active_ = false;
};

}  // namespace

std::unique_ptr<Plugin> open_lv2(const std::string& file, int channels, double rate) {
  const auto describe = reinterpret_cast<LV2_Descriptor_Function>(symbol_of(file, "lv2_descriptor"));
  for (std::uint32_t i = 0; const LV2_Descriptor* descriptor = describe(i); ++i)
    if (std::strcmp(descriptor->URI, kUri[channels - 1]) == 0)
      return std::make_unique<Lv2>(descriptor, file.substr(0, file.rfind('/') + 1), channels, rate);
  throw std::runtime_error(file + " has no plug-in of " + std::to_string(channels) + " channels");
}

}  // namespace host
