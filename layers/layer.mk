# What `sam build` runs for the layers of third-party packages (`BuildMethod: makefile`), in a copy of the layer's folder. SAM's own
# builder fetches wheels of another processor by name and version, whatever their hashes. Included by processors/*/Makefile, which
# say the PROCESSOR as wheels name it; the template's ContextPath says which of them, so that layers and functions agree.
# Lambda's Python 3.13 runs on Amazon Linux 2023, with glibc 2.34 (https://docs.aws.amazon.com/lambda/latest/dg/python-image.html).
PLATFORMS := $(foreach minor,34 33 32 31 30 29 28 27 26 25 24 23 22 21 20 19 18 17,--platform manylinux_2_$(minor)_$(PROCESSOR))

build-%:
	python3 -m pip install --quiet --disable-pip-version-check --no-input --no-compile --require-hashes --only-binary=:all: --no-deps \
	  --implementation cp --python-version 3.13 $(PLATFORMS) --platform manylinux2014_$(PROCESSOR) \
	  --requirement requirements.txt --target "$(ARTIFACTS_DIR)/python"
	rm -rf "$(ARTIFACTS_DIR)/python/bin"
