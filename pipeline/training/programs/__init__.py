"""The programs that a job starts: pretrain, finetune, evaluate, probe, features, tokenize."""
