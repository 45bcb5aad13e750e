#else
  coded_input->SetTotalBytesLimit(kProtoReadBytesLimit);
#endif
