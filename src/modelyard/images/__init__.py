"""Images: what containers run, brought into folders that the server keeps."""
