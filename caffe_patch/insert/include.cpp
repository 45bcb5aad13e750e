#include "caffe/util/lrpolicy.hpp"
