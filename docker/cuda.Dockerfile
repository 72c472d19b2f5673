# ablate on NVIDIA GPUs: docker build -f docker/cuda.Dockerfile -t ablate:cuda .
#   docker run --rm --gpus all --ipc=host -v $PWD/runs:/work/runs ablate:cuda run /opt/ablate/studies/quickstart.yaml
# torch's own wheel carries the CUDA libraries; the host needs only the driver and the container toolkit.
FROM python:3.12-slim
# inductor compiles its launchers with a C compiler at run time.
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/ablate
COPY constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY ablate ablate
COPY dashboards dashboards
RUN pip install --no-cache-dir -c constraints.txt '.[wandb,quantization,optimizers,energy,export,ray,slurm,postgres,dashboard,cleaning]'
COPY studies studies
COPY docker/cluster.yaml docker/cluster.yaml
ENV OMP_WAIT_POLICY=PASSIVE
WORKDIR /work
ENTRYPOINT ["ablate"]
CMD ["--help"]
