// From a status of the kernels to lrpolicy.errors.InputError.
#pragma once
#include <lrpolicy/error.hpp>

#include "settings.hpp"

inline void require(lrpolicy::Status status) {
  if (status == lrpolicy::Status::kOk) return;
  throw lrpolicy::InputError(lrpolicy_status_text(status), lrpolicy::wrong_setting(status));
}
