module genie-lm/tools/cluster/pki

go 1.26
