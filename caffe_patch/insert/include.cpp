#include "caffe/util/lrpolicy.hpp"
#include "caffe/util/lrpolicy_live.hpp"
