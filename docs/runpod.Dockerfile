# The worker of RunPodBackend: hpoviz, TensorFlow with CUDA, and RunPod's worker loop, in the versions that were tested
# together. From the folder of the repository:
#
#   pip wheel --no-deps --wheel-dir dist .
#   docker build --platform linux/amd64 -f docs/runpod.Dockerfile -t docker.io/ME/hpoviz-worker:0.1.0 dist
#   docker push docker.io/ME/hpoviz-worker:0.1.0
#
# The tag is the version of hpoviz, so that RunPodBackend.check() can read it. A worker of another 0.x refuses trials.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

ARG HPOVIZ=0.1.0
ARG TENSORFLOW=2.21.0
ARG KERAS=3.15.1
ARG NUMPY=2.4.6
ARG RUNPOD=1.12.0

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore TF_CPP_MIN_LOG_LEVEL=2

# tensorflow[and-cuda] brings CUDA and cuDNN as wheels; the driver is that of RunPod's machine.
COPY hpoviz-${HPOVIZ}-py3-none-any.whl /tmp/
RUN pip install "tensorflow[and-cuda]==${TENSORFLOW}" "keras==${KERAS}" "numpy==${NUMPY}" "runpod==${RUNPOD}" \
        /tmp/hpoviz-${HPOVIZ}-py3-none-any.whl \
    && rm /tmp/hpoviz-*.whl

# What cannot be imported fails here, and not where it is paid for.
RUN python -c "import hpoviz.backends.runpod_worker, hpoviz.training.trial, runpod"

CMD ["python", "-u", "-m", "hpoviz.backends.runpod_worker"]
